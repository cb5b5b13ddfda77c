"""Weights divided between processes: the same curve, a share of the bytes, checkpoints that anyone can load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minigpt.config import RunConfig, TrainingConfig, TransformerConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.errors import ConfigError
from minigpt.model.transformer import Transformer
from minigpt.training import sharding
from minigpt.training.distributed import Ranks
from minigpt.training.sharding import divided_model, gathered, is_divided, own_part, part_like, shard, whole_of
from minigpt.training.trainer import Trainer
from tests.training.test_distributed import train, train_in_processes


@pytest.mark.parametrize(
    ("settings", "size", "words"),
    [
        ({}, 1, "one process"),
        ({"batch_size": 13}, 2, r"batch_size is 13; .* for example 14"),
        ({"batch_size": 3}, 4, r"batch_size is 3; .* for example 4"),
        ({"weights_ema": 0.9}, 2, r"training\.weights_ema to 0"),
        ({"max_seconds": 5.0}, 2, r"give training\.max_steps"),
        ({"precision": "float16"}, 2, r"training\.precision to bfloat16"),
        ({"compile": True}, 2, r"training\.compile"),
    ],
)
def test_what_divided_weights_cannot_do_is_refused(settings: dict[str, Any], size: int, words: str) -> None:
    """The message names the setting and a value that works."""
    with pytest.raises(ConfigError, match=words):
        Ranks(0, size, is_sharded=True).check(TrainingConfig(**settings))


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """A process group of this process alone."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


class OneOfOne(Ranks):
    """One process that treats its weights as divided."""

    def check(self, settings: TrainingConfig) -> None:
        pass


def make_trainer(is_sharded: bool, optimizer: str) -> Trainer:
    """Return a trainer of a small model, whose weights may be divided."""
    ids = np.random.default_rng(5).integers(0, 11, 300).astype(np.uint16)
    shape = {"model.num_layers": 1, "model.num_heads": 2, "model.d_model": 16, "model.sequence_length": 8}
    config = RunConfig().updated({**shape, "training.max_steps": 6, "training.optimizer": optimizer})
    model = Transformer(config.model, 11, seed=3)
    if is_sharded:
        shard(model, torch.device("cpu"))
    windows, validation = LanguageModelDataset(ids[:200], 8), LanguageModelDataset(ids[200:], 8, stride=8)
    return Trainer(model, windows, validation, config, ranks=OneOfOne(0, 1, is_sharded))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_divided_weights_are_saved_whole_and_loaded_again(optimizer: str, group_of_one: None, tmp_path: Path) -> None:
    """What is gathered is the state of an undivided training; a divided one continues from it as if alone."""
    alone, divided = make_trainer(False, optimizer), make_trainer(True, optimizer)
    assert all(is_divided(parameter) for parameter in divided.model.parameters())
    for _ in range(3):
        alone.step_once()
        divided.step_once()
    expected = alone.state_dict()
    state, folder = divided.tensors_of_state(), tmp_path / "parts"
    with gathered(folder, divided.model.state_dict(), state, is_writer=True) as (weights, optimizer_state):
        assert folder.is_dir()
    assert not folder.exists()
    for found, wanted in ((weights, expected.model), (optimizer_state, expected.optimizer)):
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    again = make_trainer(True, optimizer)
    again.load_state_dict(expected)
    again.fit()
    alone.fit()
    assert again.loss == pytest.approx(alone.loss, abs=1e-6)
    assert again.val_loss == pytest.approx(alone.val_loss, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"initialization": "torch", "bias": True, "tie_embeddings": False, "positions": "learned"},
        {"initialization": "identity", "convolution": 3, "tie_embeddings": False},
    ],
)
def test_a_model_that_is_divided_from_the_beginning_has_the_same_weights(
    shape: dict[str, Any], group_of_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; and nothing is filled before it is divided."""
    config = TransformerConfig(num_layers=2, num_heads=2, d_model=16, sequence_length=8, **shape)
    wanted = Transformer(config, 11, seed=5).state_dict()
    before: list[str] = []
    real = sharding.shard
    monkeypatch.setattr(sharding, "shard", lambda model, *rest: (before.append(model.device.type), real(model, *rest)))
    model = divided_model(config, 11, 5, torch.device("cpu"))
    assert before == ["meta"]
    assert model(torch.tensor([[1, 2]])).isfinite().all()
    found = {name: whole_of(own_part(value), value) for name, value in model.state_dict().items()}
    assert found.keys() == wanted.keys()
    assert all(found[name].equal(wanted[name]) for name in wanted)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_processes_with_divided_weights_draw_the_curve_of_one(size: int, tmp_path: Path) -> None:
    """The loss is that of one process within 1e-5 over 50 steps, in float64 over 200; each holds its share of bytes."""
    options = {"muon": [1, 12], "sgd": [1, 12], "float64": [1, 12]}
    results = train_in_processes(size, options, tmp_path / "shards")
    for case, (_, batch_size) in options.items():
        alone = train(case, Ranks(), 1 if case == "float64" else size, batch_size)
        for result in results:
            assert result[case]["begun"] == alone["begun"]  # bit for bit
            lines = result[case]["lines"]
            wanted = [line[0] for line in alone["lines"]][: len(lines)]
            np.testing.assert_allclose([line[0] for line in lines], wanted, atol=1e-5)
            for held, all_of_it in zip(result[case]["bytes"], alone["bytes"], strict=True):
                assert held <= all_of_it * (1 / size + 0.1)


def test_a_part_is_cut_as_torch_cuts_it() -> None:
    """Of three rows, four processes get one each, and the last one gets none; other tensors stay whole."""

    class Mesh:
        def __init__(self, rank: int) -> None:
            self._rank = rank

        def size(self) -> int:
            return 4

        def get_local_rank(self) -> int:
            return self._rank

    class Divided:
        def __init__(self, rank: int) -> None:
            self.device_mesh = Mesh(rank)

        def to_local(self) -> None: ...

    rows = torch.arange(6).reshape(3, 2)
    parts: list[list[list[int]]] = [part_like(rows, Divided(rank)).tolist() for rank in range(4)]  # type: ignore[arg-type]
    assert parts == [[[0, 1]], [[2, 3]], [[4, 5]], []]
    assert part_like(rows, rows) is rows
