"""Several real processes train one model: the curve is that of one process with the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import TrainingConfig
from minigpt.errors import ConfigError
from minigpt.training.distributed import Ranks

TRAIN = """
import json, sys
import numpy as np, torch
from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.transformer import Transformer
from minigpt.training.callbacks import Callback
from minigpt.training.distributed import Ranks
from minigpt.training.trainer import Trainer

torch.set_num_threads(1)
rank, size, optimizers, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4]
if size > 1:
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=size)
ids = np.arange(400, dtype=np.uint16) ** 2 % 11
train, validation = LanguageModelDataset(ids[:300], 8), LanguageModelDataset(ids[300:], 8, stride=8)


class Log(Callback):
    def __init__(self):
        self.lines = []

    def on_step(self, trainer, record):
        self.lines.append([record["loss"], record["grad_norm"], record["tokens_seen"]])
        if rank == size - 1 and record["step"] == stop_at:
            trainer.stop()

    def on_evaluation(self, trainer, record):
        self.lines.append([record["val_loss"]])


curves = {}
for optimizer in optimizers:
    stop_at = 7 if optimizer == "sgd" else None
    config = RunConfig().updated({
        "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 16, "model.sequence_length": 8,
        "training.optimizer": optimizer, "training.max_steps": 50, "training.batch_size": 12,
        "training.accumulation_steps": 2, "training.eval_steps": 25, "training.weights_ema": 0.9,
    })
    log = Log()
    trainer = Trainer(Transformer(config.model, 11, seed=3), train, validation, config, callbacks=[log],
                      ranks=Ranks(rank, size))
    trainer.fit()
    weights = torch.cat([value.flatten() for value in trainer.model.state_dict().values()]).tolist()
    curves[optimizer] = {"lines": log.lines, "weights": weights}
if size > 1:
    torch.distributed.destroy_process_group()
print(json.dumps(curves))
"""


def curves(size: int, optimizers: str, folder: Path) -> list[dict[str, Any]]:
    """Train in `size` processes, and return the curves and final weights that each of them saw."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(rank), str(size), optimizers, str(folder / f"group-{size}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
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


def check_equal(several: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    """Compare the curve of every process with that of one process, and the weights between the processes."""
    for one in several:
        for optimizer, curve in one.items():
            expected = alone[optimizer]["lines"]
            assert len(curve["lines"]) == len(expected)
            for line, wanted in zip(curve["lines"], expected, strict=True):
                assert line[0] == pytest.approx(wanted[0], abs=1e-5)
                assert line[1:] == pytest.approx(wanted[1:], rel=1e-4)
            assert curve["weights"] == several[0][optimizer]["weights"]


@pytest.mark.process
def test_two_processes_draw_the_curve_of_one(tmp_path: Path) -> None:
    """Loss, gradient, tokens and evaluations agree with AdamW and Muon; a stop in one process stops both at once."""
    check_equal(curves(2, "adamw,muon,sgd", tmp_path), curves(1, "adamw,muon,sgd", tmp_path)[0])


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_more_processes_draw_the_curve_of_one(size: int, tmp_path: Path) -> None:
    """Also with a number of processes that is no power of two, and with an uneven split of the validation part."""
    check_equal(curves(size, "adamw,muon", tmp_path), curves(1, "adamw,muon", tmp_path)[0])


@pytest.mark.parametrize(("batch_size", "size", "multiple"), [(12, 5, 10), (3, 4, 4), (7, 2, 6)])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size: int, size: int, multiple: int) -> None:
    """The message names both numbers, and a batch size that works."""
    with pytest.raises(ConfigError, match=f"is {batch_size}, which {size} processes .* for example {multiple}"):
        Ranks(0, size).check(TrainingConfig(batch_size=batch_size))


def test_compiling_is_refused_with_several_processes() -> None:
    """The message names the setting; one process may compile."""
    Ranks().check(TrainingConfig(compile=True))
    with pytest.raises(ConfigError, match=r"training\.compile"):
        Ranks(1, 2).check(TrainingConfig(compile=True))
