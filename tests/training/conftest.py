"""Tiny trainings that take milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from minigpt.config import RunConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.model.transformer import Transformer
from minigpt.training.trainer import Trainer

VOCAB = 11
TINY = {
    "seed": 7,
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.d_model": 16,
    "model.sequence_length": 8,
    "training.batch_size": 6,
    "training.max_steps": 12,
    "training.warmup_steps": 3,
    "training.learning_rate": 1e-2,
    "training.eval_steps": 4,
    "training.eval_batches": 2,
    "training.checkpoint_steps": 4,
    "training.sample_steps": 4,
    "training.sample_tokens": 5,
    "training.num_threads": 1,
}


@pytest.fixture
def stream() -> np.ndarray:
    """A text with a pattern to learn: each token mostly depends on the one before it."""
    chance = np.random.Generator(np.random.PCG64(3))
    ids = [0]
    for noise in chance.random(599):
        ids.append((3 * ids[-1] + 1) % VOCAB if noise < 0.8 else int(noise * 1000) % VOCAB)
    return np.array(ids, dtype=np.uint8)


@pytest.fixture
def make_trainer(stream: np.ndarray) -> Callable[..., Trainer]:
    """Return a function that makes a trainer of a tiny model; settings are keywords with `__` in place of the dot."""

    def make(*, callbacks: Any = (), validation: bool = True, **changes: Any) -> Trainer:
        config = RunConfig().updated({**TINY, **{key.replace("__", "."): value for key, value in changes.items()}})
        context = config.model.sequence_length
        return Trainer(
            Transformer(config.model, VOCAB, seed=config.seed),
            LanguageModelDataset(stream[:500], context),
            LanguageModelDataset(stream[500:], context, context) if validation else None,
            config,
            callbacks=callbacks,
        )

    return make


@pytest.fixture
def weights() -> Callable[[Trainer], torch.Tensor]:
    """Return a function that returns all weights of a trainer's model as one vector."""

    def flatten(trainer: Trainer) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])

    return flatten
