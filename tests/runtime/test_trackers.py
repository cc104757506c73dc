"""Metrics reach MLflow's and W&B's own stores, and a run that carries on is the same run there; no network is needed."""

from __future__ import annotations

import pytest

from ropewalk.runtime.errors import MachineError, OptionError
from ropewalk.runtime.metrics import Metrics, read_metrics


def two_parts_of_a_run(folder) -> None:
    folder.mkdir(parents=True)
    for first in (0, 2):
        with Metrics(folder, resumed_at_step=first) as metrics:
            for step in (first, first + 1):
                metrics.log(step, {"train/loss": 3.0 - step})


def test_mlflow_has_every_step_of_one_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("ROPEWALK_TRACK", "mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path / 'store'}")
    two_parts_of_a_run(tmp_path / "docs" / "model.part" / "logs")
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("ropewalk").experiment_id])
    assert [run.info.run_name for run in runs] == ["docs/model"]
    history = client.get_metric_history(runs[0].info.run_id, "train/loss")
    assert {(point.step, point.value) for point in history} == {(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.0)}


def test_wandb_writes_a_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("ROPEWALK_TRACK", "wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    logs = tmp_path / "docs" / "model.part" / "logs"
    two_parts_of_a_run(logs)
    runs = sorted(tmp_path.glob("wandb/offline-run-*"))
    name = (logs / "wandb-run").read_text()
    assert runs and all(run.name.endswith(name) for run in runs)
    assert [row["step"] for row in read_metrics(logs)] == [0, 1, 2, 3]


def test_what_is_not_known_or_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ROPEWALK_TRACK", "comet")
    with pytest.raises(OptionError, match="known are wandb, mlflow"):
        Metrics(tmp_path, resumed_at_step=0)
    monkeypatch.setenv("ROPEWALK_TRACK", "wandb")
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MachineError, match=r"ropewalk\[track\]"):
        Metrics(tmp_path, resumed_at_step=0)
