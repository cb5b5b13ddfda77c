"""Several real processes train one model: the curve is that of one process with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from minigpt.config import RunConfig, TrainingConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.errors import ConfigError, ProcessLostError
from minigpt.model.transformer import Transformer
from minigpt.training import distributed
from minigpt.training.callbacks import Callback
from minigpt.training.distributed import Ranks
from minigpt.training.events import Record, TrainerView
from minigpt.training.sharding import divided_model, num_bytes, own_part, whole_of
from minigpt.training.trainer import Trainer
from minigpt.training.validation import Validation

CASES: dict[str, dict[str, Any]] = {
    "adamw": {"training.optimizer": "adamw", "training.weights_ema": 0.9},
    "muon": {"training.optimizer": "muon"},
    "sgd": {"training.optimizer": "sgd"},
    "float64": {"training.optimizer": "muon", "training.max_steps": 200},
    "quickly": {"training.optimizer": "adamw", "training.max_steps": 50},
}
"""Settings that the cases do not share; a stop comes in the case `sgd`."""
IN_FLOAT64 = {"float64", "quickly"}
AS_ON_GPUS = {"quickly"}
"""Gradients are added up by `sum_quickly`, while the backward pass goes on."""
STOP_AT = {"sgd": 7}


class Curve(Callback):
    """Keeps loss, gradient, targets and evaluations; asks for a stop at a step if `stop_at` names one."""

    def __init__(self, stop_at: int | None) -> None:
        self.lines: list[list[float]] = []
        self._stop_at = stop_at

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        assert isinstance(trainer, Trainer)
        self.lines.append([trainer.loss or 0.0, record["grad_norm"], record["tokens_seen"]])
        if record["step"] == self._stop_at:
            trainer.stop()

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        self.lines.append([record["val_loss"]])


def train(case: str, ranks: Ranks, accumulation_steps: int = 1, batch_size: int = 13) -> dict[str, Any]:
    """Return the curve, the final weights and the bytes of this process of a small training."""
    ids = np.random.default_rng(5).integers(0, 11, 400).astype(np.uint16)
    windows, validation = LanguageModelDataset(ids[:300], 8), LanguageModelDataset(ids[300:], 8, stride=8)
    shape = {"model.num_layers": 1, "model.num_heads": 2, "model.d_model": 16, "model.sequence_length": 8}
    steps = {"training.max_steps": 50, "training.batch_size": batch_size, "training.eval_steps": 25}
    config = RunConfig().updated({**shape, **steps, "training.accumulation_steps": accumulation_steps, **CASES[case]})
    if ranks.is_sharded:
        model = divided_model(config.model, 11, 3, torch.device("cpu"))
    else:
        model = Transformer(config.model, 11, seed=3)
    begun = _whole(model.state_dict())
    curve = Curve(STOP_AT.get(case) if ranks.rank == ranks.size - 1 else None)
    add = distributed.sum_quickly if case in AS_ON_GPUS else distributed.sum_by_rank
    with mock.patch.object(distributed, "sum_by_rank", add):
        trainer = Trainer(
            model.double() if case in IN_FLOAT64 else model, windows, validation, config, callbacks=[curve], ranks=ranks
        )
        trainer.fit()
    weights = trainer.eval_model.state_dict()
    held = num_bytes(weights), num_bytes(trainer.tensors_of_state())
    return {"lines": curve.lines, "begun": begun, "weights": _whole(weights), "bytes": held}


def _whole(weights: Mapping[str, torch.Tensor]) -> list[float]:
    """Return all numbers of a model, put together if this process has a part of them only."""
    numbers: list[float] = torch.cat([whole_of(own_part(each), each).flatten() for each in weights.values()]).tolist()
    return numbers


CHILD = """
import json, sys, torch
from minigpt.training.distributed import Ranks
from minigpt.training.processes import end_process
from tests.training.test_distributed import train
torch.set_num_threads(1)
rank, size, group, cases = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
ranks = Ranks(rank, size, is_sharded="shards" in group)
torch.distributed.init_process_group("gloo", init_method=f"file://{group}", rank=rank, world_size=size)
result = {case: train(case, ranks, *options) for case, options in cases.items()}
torch.distributed.destroy_process_group()
print(json.dumps(result))
end_process(0)
"""


def train_in_processes(size: int, cases: dict[str, list[int]], group: Path) -> list[dict[str, Any]]:
    """Train each case, with micro-batches and windows of a batch, and return what each of the processes saw.

    Args:
        size: Number of processes.
        cases: Name in `CASES` to further arguments of `train`.
        group: A file through which they find each other; weights are divided if its name has `shards` in it.
    """
    root = Path(__file__).parents[2]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(rank), str(size), str(group), json.dumps(cases)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for rank in range(size)
    ]
    try:
        outputs = [child.communicate(timeout=300) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0] * size, [errors for _, errors in outputs]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def check_curves(size: int, cases: dict[str, int], folder: Path) -> None:
    """Compare every process with one process that adds up as many micro-batches: in float32 bit for bit."""
    results = train_in_processes(size, {case: [parts] for case, parts in cases.items()}, folder / "group")
    for case in cases:
        alone = train(case, Ranks(), 1 if case in IN_FLOAT64 else size)
        if case in STOP_AT:
            alone["lines"] = alone["lines"][: len(results[0][case]["lines"])]
            assert len(results[0][case]["lines"]) == STOP_AT[case] + 1, "an evaluation comes before the first step"
        for result in results:
            lines = result[case]["lines"]
            np.testing.assert_allclose([line[0] for line in lines], [line[0] for line in alone["lines"]], atol=1e-5)
            assert [line[2:] for line in lines] == [line[2:] for line in alone["lines"]], "targets are counted once"
            assert result[case]["weights"] == results[0][case]["weights"]
            if case not in IN_FLOAT64 and case not in STOP_AT:
                assert result[case]["weights"] == alone["weights"]


@pytest.mark.process
def test_two_processes_draw_the_curve_of_one(tmp_path: Path) -> None:
    """With AdamW and Muon the weights are equal bit for bit; in float64 the curve is that of the undivided batch.

    So it is when gradients are added up as on GPUs. A stop that is asked for in the last process stops both at once.
    """
    check_curves(2, {"adamw": 2, "muon": 1, "sgd": 1, "float64": 1, "quickly": 2}, tmp_path)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_more_processes_draw_the_curve_of_one(size: int, tmp_path: Path) -> None:
    """Also with a number of processes that is no power of two, and with uneven shares of a batch."""
    check_curves(size, {"adamw": size, "muon": 1, "sgd": 1, "float64": 1, "quickly": 2}, tmp_path)


class Alone(Ranks):
    """One of several ranks whose sums are its own numbers."""

    def sum(self, values: Sequence[float]) -> list[float]:
        return list(values)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("num_tokens", [9, 40, 101])
def test_an_evaluation_is_shared_without_overlap_or_loss(size: int, num_tokens: int) -> None:
    """The targets of all ranks together are those of the whole validation part, each once."""
    windows = LanguageModelDataset(np.arange(num_tokens, dtype=np.uint16), 8, stride=8)
    settings = TrainingConfig(batch_size=4, accumulation_steps=2)
    seen: list[int] = []
    for rank in range(size):
        validation = Validation(windows, settings, Alone(rank, size))
        numbers, is_all = validation.windows(whole=True)
        seen += [int(i) for _, targets in validation._batches(numbers, is_all) for i in targets.flatten()]
    assert sorted(seen) == list(range(1, num_tokens))


@pytest.mark.parametrize(
    ("settings", "size", "words"),
    [
        ({"batch_size": 3}, 4, r"batch_size is 3; each of the 4 processes .* Set training.batch_size to 4 or more"),
        ({"compile": True}, 2, r"training\.compile is on"),
    ],
)
def test_settings_that_processes_cannot_share_are_refused(settings: dict[str, Any], size: int, words: str) -> None:
    """The message names the numbers and a mend; one process may use the same settings."""
    Ranks().check(TrainingConfig(**settings))
    with pytest.raises(ConfigError, match=words):
        Ranks(0, size).check(TrainingConfig(**settings))


@pytest.mark.parametrize(
    ("error", "size", "expected"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection closed by peer"), 2, ProcessLostError),
        (torch.distributed.DistBackendError("NCCL error"), 2, ProcessLostError),
        (torch.distributed.DistNetworkError("timed out"), 4, ProcessLostError),
        (RuntimeError("out of memory"), 2, RuntimeError),
        (RuntimeError("gloo"), 1, RuntimeError),
    ],
)
def test_a_lost_process_is_told_in_words(error: Exception, size: int, expected: type[Exception]) -> None:
    """Errors of a broken connection are told from others."""
    with pytest.raises(expected) as raised, Ranks(0, size).faults_in_words():
        raise error
    assert type(raised.value) is expected
