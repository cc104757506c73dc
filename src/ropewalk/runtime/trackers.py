"""Where else metrics go: Weights & Biases, MLflow, if the environment asks for it.

    ROPEWALK_TRACK=wandb ropewalk run recipes/docs.toml         # or mlflow, or wandb,mlflow; pip install 'ropewalk[track]'

Both are told what they need by their own variables (WANDB_MODE, WANDB_DIR, WANDB_PROJECT; MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME). A run that carries on is the same run there: its id lies beside its metrics.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ropewalk.runtime.errors import MachineError, OptionError

VARIABLE = "ROPEWALK_TRACK"
RUN_FILE = "{name}-run"


class Tracker(Protocol):
    """Takes the metrics of each step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step."""
        ...

    def close(self) -> None:
        """Send what is waiting."""
        ...


def trackers(folder: Path) -> list[Tracker]:
    """The trackers that the environment asks for; `folder` holds the run's metrics.

    Raises:
        OptionError: an unknown one. MachineError: one that is not installed.
    """
    found = []
    for name in filter(None, (part.strip() for part in os.environ.get(VARIABLE, "").split(","))):
        if name not in KNOWN:
            raise OptionError(f"{VARIABLE} names {name!r}: known are {', '.join(KNOWN)}")
        try:
            found.append(KNOWN[name](folder))
        except ModuleNotFoundError:
            raise MachineError(
                f"{VARIABLE} asks for {name}, which is not installed: pip install 'ropewalk[track]'"
            ) from None
    return found


class _Wandb:
    def __init__(self, folder: Path) -> None:
        wandb = import_module("wandb")
        known = folder / RUN_FILE.format(name="wandb")
        if not known.is_file():
            known.write_text(uuid.uuid4().hex, encoding="utf-8")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "ropewalk"),
            name=_title(folder),
            id=known.read_text(encoding="utf-8"),
            resume="allow",
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, folder: Path) -> None:
        mlflow = import_module("mlflow")
        self._metric, self._client = import_module("mlflow.entities").Metric, mlflow.MlflowClient()
        known = folder / RUN_FILE.format(name="mlflow")
        if not known.is_file():
            experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "ropewalk"))
            run = self._client.create_run(experiment.experiment_id, run_name=_title(folder))
            known.write_text(run.info.run_id, encoding="utf-8")
        self._id = known.read_text(encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[self._metric(name, value, now, step) for name, value in values.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


KNOWN = {"wandb": _Wandb, "mlflow": _Mlflow}


def _title(folder: Path) -> str:
    """The artifact's name, of `runs/docs/model.part/logs`: docs/model."""
    artifact = folder.resolve().parent
    return f"{artifact.parent.name}/{artifact.name.removesuffix('.part')}"
