"""The matrix peak: how it is measured, and that the best value is kept, in this process and for later ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minigpt import resources
from minigpt.training import peak
from minigpt.training.peak import best_peak, measure_peak


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """A machine whose rate and clock the test sets, in a process that has not measured yet."""
    state = {"rate": 5e9, "clock": 1000.0, "measured": 0}

    def measured(device: str, num_threads: int, precision: str) -> float:
        state["measured"] += 1
        return state["rate"]

    monkeypatch.setenv("MINIGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(peak, "measure_peak", measured)
    monkeypatch.setattr(peak.time, "monotonic", lambda: state["clock"])
    new_process(monkeypatch)
    return state


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the values that this process keeps."""
    monkeypatch.setattr(peak, "_best", {})
    monkeypatch.setattr(peak, "_measured_at", {})


def test_a_real_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "PEAK_SECONDS", 0.0)
    assert measure_peak("cpu", 1, "float32") > 1e8  # any processor of this century
    assert measure_peak("cpu", 1, "bfloat16") > 1e7


def test_the_peak_is_measured_once_in_a_while(machine: dict[str, float]) -> None:
    assert {best_peak("cpu", 1, "float32") for _ in range(3)} == {5e9}
    assert machine["measured"] == 1
    best_peak("cpu", 2, "float32")
    best_peak("cpu", 1, "bfloat16")
    assert machine["measured"] == 3  # each is another peak
    machine["clock"] += peak.REPEAT_SECONDS
    best_peak("cpu", 1, "float32")
    assert machine["measured"] == 4


def test_a_busy_moment_does_not_lower_it_and_an_idle_one_raises_it(machine: dict[str, float]) -> None:
    found = []
    for rate in (5e9, 2e9, 8e9, 1e9):
        machine["rate"] = rate
        found.append(best_peak("cpu", 1, "float32"))
        machine["clock"] += peak.REPEAT_SECONDS
    assert found == [5e9, 5e9, 8e9, 8e9]


def test_a_later_process_knows_the_best(machine: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    best_peak("cpu", 1, "float32")
    new_process(monkeypatch)
    machine["rate"] = 2e8  # others use the machine now
    assert best_peak("cpu", 1, "float32") == 5e9
    assert best_peak("cpu", 2, "float32") == 2e8  # another number of threads was never measured
    assert sorted(json.loads((resources.cache() / peak.FILE).read_text()).values()) == [2e8, 5e9]
    monkeypatch.setattr(peak.platform, "node", lambda: "another-machine")
    assert best_peak("cpu", 1, "float32") == 2e8


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"other": "fast"}', '{"other": -1, "more": Infinity}', "\udcff"])
def test_a_damaged_file_counts_as_missing(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = resources.cache() / peak.FILE
    path.parent.mkdir()
    path.write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert best_peak("cpu", 1, "float32") == 5e9
    new_process(monkeypatch)
    machine["rate"] = 1e9
    assert best_peak("cpu", 1, "float32") == 5e9  # written anew


def test_a_cache_that_cannot_be_written_is_no_error(machine: dict[str, float]) -> None:
    resources.cache().write_text("a file where the folder should be")
    assert best_peak("cpu", 1, "float32") == 5e9


def test_a_gpu_goes_by_its_own_name(machine: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rate in (("card of one kind", 5e9), ("card of another kind", 3e9)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        machine["rate"] = rate
        assert best_peak("cuda:0", 1, "bfloat16") == rate


def test_tf32_is_measured_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    multiply: Callable[..., torch.Tensor] = torch.mm

    def watched(*factors: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return multiply(*factors)

    monkeypatch.setattr(peak, "PEAK_SECONDS", 0.0)
    monkeypatch.setattr(torch, "mm", watched)
    measure_peak("cpu", 1, "tf32")
    assert set(seen) == {"high"}
    seen.clear()
    measure_peak("cpu", 1, "float32")
    assert set(seen) == {"highest"}
