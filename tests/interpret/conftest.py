"""Small models of every kind that the library supports."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.model.transformer import Transformer

VOCAB = 11
MAKES: dict[str, dict[str, object]] = {
    "rmsnorm-rotary": {},
    "layernorm-bias-learned": {"norm": "layernorm", "bias": True, "positions": "learned"},
    "layernorm-untied": {"norm": "layernorm", "tie_embeddings": False},
    "rmsnorm-bias-untied": {"bias": True, "tie_embeddings": False, "positions": "learned"},
    "gqa": {"num_kv_heads": 2},
    "alibi-window-cap": {"positions": "alibi", "attention_window": 4, "logit_cap": 0.5},
    "quick-recipe": {"convolution": 3, "qk_norm": True, "activation": "swiglu", "norm_gain": False, "d_ff": 64},
}


def make_model(seed: int = 5, **changes: object) -> Transformer:
    """Return a model in which every parameter matters: biases and gains are random too, and all weights are large."""
    settings = {"num_layers": 3, "num_heads": 4, "d_model": 16, "sequence_length": 16, **changes}
    model = Transformer(TransformerConfig(**settings), VOCAB, seed=seed)
    generator = torch.Generator()
    generator.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            mean = 1.0 if parameter.ndim == 1 else 0.0
            parameter.normal_(mean, 0.3, generator=generator)
    return model.eval()


@pytest.fixture(params=MAKES)
def model(request: pytest.FixtureRequest) -> Transformer:
    """One model of each kind."""
    return make_model(**MAKES[request.param])


@pytest.fixture
def make() -> Callable[..., Transformer]:
    """Return a function that makes a model with given settings."""
    return make_model


@pytest.fixture
def ids() -> torch.Tensor:
    """One text, (1, 7)."""
    return torch.tensor([[1, 2, 3, 2, 3, 9, 4]])
