"""SmolLM2's scores are equal by transformers alone, and through lm-evaluation-harness on our engine and on transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.evaluate.peers import items

from ropewalk.engine.load import load_engine
from ropewalk.evaluate import BenchmarkOptions, run_benchmark
from ropewalk.evaluate.benchmarks import CORE, read_item
from ropewalk.evaluate.harness import harness_model, judged
from ropewalk.evaluate.scored import read_scored

COUNT = 100  # of each form
TASKS = {
    "choices": {"doc_to_text": "{{query}}", "doc_to_target": "gold", "doc_to_choice": "choices"},
    "schema": {"doc_to_text": "gold", "doc_to_target": "continuation", "doc_to_choice": "context_options"},
    "language": {"doc_to_text": "{{context}}", "doc_to_target": "{{' '+continuation}}"},
}
BENCHMARKS = {"choices": "copa", "schema": "winogrande", "language": "coqa"}  # without examples, a space between


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The items of each form, and the harness' tasks of them."""
    folder = tmp_path_factory.mktemp("items")
    for form, texts in TASKS.items():
        path = folder / f"{form}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in items(form, COUNT)), encoding="utf-8")
        task = {
            "task": f"ropewalk_{form}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test",
            "output_type": "loglikelihood" if form == "language" else "multiple_choice",
            **texts,
            "metric_list": [{"metric": "acc"}] if form == "language" else [{"metric": "acc"}, {"metric": "acc_bytes"}],
        }
        (folder / f"{form}.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
    return folder


def harness_scores(model, files: Path, **arguments) -> dict:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(files), include_defaults=False)
    tasks = [f"ropewalk_{form}" for form in TASKS]
    found = simple_evaluate(model, tasks=tasks, task_manager=manager, log_samples=True, bootstrap_iters=0, **arguments)
    return {
        form: [
            ([tuple(one[0]) for one in sample["resps"]], sample["acc"], sample.get("acc_bytes"))
            for sample in sorted(found["samples"][f"ropewalk_{form}"], key=lambda sample: sample["doc_id"])
        ]
        for form in TASKS
    }


@pytest.mark.peer
def test_scores_are_equal_through_all_three(smollm2, files, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is an extra of its own: pip install 'ropewalk[harness]'")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    ours = harness_scores(harness_model(smollm2), files)
    arguments = {"pretrained": str(smollm2), "dtype": "float32"}
    theirs = harness_scores("hf", files, model_args=arguments, batch_size=16, device="cpu")
    for form, task in BENCHMARKS.items():
        options = BenchmarkOptions(model=smollm2, task=task, source=files / f"{form}.jsonl", shots=0, boundary=False)
        made = run_benchmark(options, out=tmp_path / form)
        for scored, here, there in zip(read_scored(made.path / "items.jsonl"), ours[form], theirs[form], strict=True):
            nats, greedy = (list(values) for values in zip(*there[0], strict=True))
            assert [one for one, _ in here[0]] == pytest.approx(nats, abs=1e-3)
            assert list(scored.nats) == pytest.approx(nats, abs=1e-3)
            assert [one for _, one in here[0]] == list(scored.greedy) == greedy
            assert here[1:] == there[1:]
            assert scored.acc == bool(there[1])
            if form == "choices":  # of a schema the harness divides by the context's bytes as well, but writes none
                assert scored.acc_norm == bool(there[2])


@pytest.mark.peer
@pytest.mark.parametrize("form", TASKS)
def test_transformers_gives_the_same_likelihoods(smollm2, form):
    """Each pair by itself, by its own tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, encode = AutoModelForCausalLM.from_pretrained(smollm2), AutoTokenizer.from_pretrained(smollm2).encode
    some = [read_item(CORE[BENCHMARKS[form]], row, "here").pairs for row in items(form, COUNT, seed=1)]
    found = list(judged(load_engine(smollm2, slots=1), some, opening=[], start=0, silent=True))
    for pairs, likelihoods in zip(some, found, strict=True):
        for (context, ending), one in zip(pairs, likelihoods, strict=True):
            ids, before = encode(context + ending), len(encode(context.rstrip()))
            with torch.no_grad():
                logprobs_NV = model(torch.tensor([ids[:-1]])).logits[0, before - 1 :].log_softmax(dim=1)
            targets_N = torch.tensor(ids[before:])
            assert one.nats == pytest.approx(float(logprobs_NV.gather(1, targets_N[:, None]).sum()), abs=1e-3)
            assert one.greedy == bool((logprobs_NV.argmax(dim=1) == targets_N).all())
            assert one.tokens == len(targets_N)
