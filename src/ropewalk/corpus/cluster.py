"""The engine "ray": a task for each shard, on this machine or on a cluster's (Moritz et al. 2018).

A task judges its shard as the engine "local" would, in one process beside its own, so that a page costs no more than itself.
Batches come back to the driver as they are made, which writes them down: the machines need no folder in common but the
input's. What a dead machine had under way Ray begins anew elsewhere, and batches that came already are not sent twice.

ray is imported here alone. It comes with the extra ropewalk[cluster].
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.contamination import Evaluation
from ropewalk.corpus.machines import check_machine, versions
from ropewalk.corpus.shards import Ended, Judged, Shard, batch_name, judge_shards
from ropewalk.runtime.errors import MachineError, OptionError, RopewalkError

TASKS_PER_CORE = 2  # at once: one at work, one waiting, so that a machine is never idle and results stay few
RETRIES = 3
STORE_BYTES = 400_000_000  # of a cluster started here, for batches on their way: each a few MB


def check_ray(options: CorpusOptions) -> None:
    """Refuse what cannot work, before any work.

    Raises:
        MachineError: ray is not installed. OptionError: an address of Ray's client, with which this was not made to work.
    """
    if options.ray_address.startswith("ray://"):
        raise OptionError(
            f"ray_address is {options.ray_address}: run this on a machine of the cluster (ray job submit does), "
            "with --ray-address auto"
        )
    _load_ray()


def judge_with_ray(
    shards: Sequence[Shard],
    options: CorpusOptions,
    evaluation: Evaluation | None,
    *,
    workers: int,
    made: Collection[str],
) -> Iterator[Judged | Ended]:
    """What `judge_shards` does, as tasks. workers: cores of the cluster that is started where `ray_address` is empty.

    Raises:
        MachineError: no cluster at the address, a machine that differs from this one, or one that lacks the input.
    """
    if not shards:
        return
    wanted = versions(options)
    with _cluster(options.ray_address, workers) as ray:
        # SPREAD: machines fill up side by side, not one after the other.
        task = ray.remote(_judge).options(
            num_cpus=1, max_retries=RETRIES, num_returns="streaming", scheduling_strategy="SPREAD"
        )
        most = TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, running = iter(shards), []
        while True:
            while len(running) < most and (shard := next(waiting, None)):
                running.append(task.remote(shard, options, evaluation, _made_of(shard, made), wanted))
            if not running:
                return
            (first,), _ = ray.wait(running, num_returns=1)
            running.remove(first)
            try:
                reference = next(first)
            except StopIteration:
                continue
            running.append(first)  # behind the others, so that all are asked in turn
            yield _got(ray, reference)


def _judge(
    shard: Shard,
    options: CorpusOptions,
    evaluation: Evaluation | None,
    made: Collection[str],
    wanted: Mapping[str, str],
) -> Iterator[Judged | Ended]:
    """The task."""
    check_machine(options, evaluation, wanted)
    yield from judge_shards([shard], options, evaluation, workers=1, made=made)


def _made_of(shard: Shard, made: Collection[str]) -> frozenset[str]:
    prefix = batch_name(shard.number, 0).rpartition("-")[0]
    return frozenset(name for name in made if name.startswith(prefix))


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[Any]:
    """Connect to the cluster, or start one here, for as long as the block lasts."""
    ray = _load_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it would tell its makers what it was started on
    ours = {} if address else {"num_cpus": workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, **ours)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MachineError(
            f"no Ray cluster at {address or 'this machine'} ({why}): start one, or correct --ray-address"
        ) from None
    try:
        signal.signal(signal.SIGTERM, before)  # ray's own would end without a word
        yield ray
    finally:
        ray.shutdown()


def _got(ray: Any, reference: Any) -> Judged | Ended:
    """A result, or what went wrong in its task as if it had happened here."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RopewalkError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        why = str(error).splitlines()[0][:200]
        raise MachineError(f"Ray lost a task {RETRIES + 1} times ({why}): the same command carries on") from None


def _load_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MachineError(f"engine ray needs Ray ({error}): pip install 'ropewalk[cluster]'") from None
