from __future__ import annotations

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import CheckpointError
from minigpt.model.transformer import Transformer
from minigpt.training.state import TrainerCounters, copy_weights, load_weights


def counters() -> TrainerCounters:
    one = TrainerCounters()
    one.step, one.seconds, one.tokens_seen, one.loss = 3, 1.5, 96, 2.25
    one.best_val_loss, one.best_step, one.early_end = 2.5, 2, "Enough."
    one._smoothed = 0.4
    return one


def test_counters_come_back() -> None:
    other = TrainerCounters()
    other.val_loss = 1.0
    other.load_progress(counters().progress())
    assert vars(other) == vars(counters())
    assert other.val_loss is None  # it belongs to another step
    assert "early_end" not in TrainerCounters().progress()


def test_no_state_in_the_middle_of_an_update() -> None:
    torn = counters()
    torn.is_whole = False
    with pytest.raises(CheckpointError, match="Step 3 was interrupted"):
        torn.progress()


@pytest.mark.parametrize("change", [{"step": None}, {"seconds": "long"}, {"tokens_seen": []}])
def test_damaged_counters_are_refused(change: dict[str, object]) -> None:
    progress = counters().progress()
    with pytest.raises(CheckpointError, match="cannot be read"):
        TrainerCounters().load_progress({**progress, **change})
    del progress["best_step"]
    with pytest.raises(CheckpointError, match="best_step"):
        TrainerCounters().load_progress(progress)


def test_weights_are_copies_and_fit_their_model_alone() -> None:
    config = TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=4)
    model, other = Transformer(config, 5, seed=1), Transformer(config, 5, seed=2)
    kept = copy_weights(model)
    load_weights(other, kept)
    assert all(torch.equal(value, kept[name]) for name, value in other.state_dict().items())
    with torch.no_grad():
        other.embedding.weight.zero_()
    assert kept["embedding.weight"].abs().sum() > 0
    with pytest.raises(CheckpointError, match="do not fit the model"):
        load_weights(Transformer(config, 6), kept)
