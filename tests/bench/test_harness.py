"""The benches' harness: who takes turns when, what a ratio is, and that a missed target stays visible."""

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "bench" / "harness.py"


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("bench_harness", PATH)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "bench_harness", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


def test_a_ratio_compares_within_a_round(harness):
    """The machine halves its speed in the second round: the rates' medians would say 3, the rounds say 2."""
    rounds = [
        {"rates": {"ours": 8.0, "peer": 4.0}},
        {"rates": {"ours": 6.0, "peer": 1.0}},
        {"rates": {"ours": 4.0, "peer": 2.0}},
    ]
    summed = harness.summary(rounds, [harness.Target("ours", "peer", 2.5)])
    assert summed["median"] == {"ours": 6.0, "peer": 2.0}
    assert summed["targets"][0]["ratio"] == 2.0
    assert summed["meets_targets"] is False
    assert summed["spread_fraction"]["ours"] == pytest.approx(4 / 6)


def test_contestants_take_turns_after_a_warm_up_and_the_result_is_whole(harness, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "GEMM_SIZE", 64)
    monkeypatch.setattr(harness, "COPY_BYTES", 4_096)
    order = []
    contestants = {name: lambda name=name: order.append(name) or 10.0 for name in ("ours", "peer")}
    targets = [harness.Target("ours", "peer", 1e9)]
    result = harness.compare("demo", contestants, what="w", unit="steps", targets=targets, libraries=["numpy"], rounds=3)
    assert order == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert all(one["ceiling"]["gemm_gflop_per_second"] > 0 for one in result["rounds"])
    harness.write(result, tmp_path / "new" / "demo.json")
    read = json.loads((tmp_path / "new" / "demo.json").read_text())
    assert read["meets_targets"] is False and set(read["versions"]) == {"python", "ropewalk", "numpy"}
    assert "**missed**" in harness.page([read])
