"""What the tests of the model share: small shapes and a generator of their own."""

import pytest
import torch

from minigpt.config import TransformerConfig


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture
def small():
    """A function that makes a small configuration, with changes."""

    def make(**changes):
        fields = {"num_layers": 2, "num_heads": 4, "d_model": 32, "sequence_length": 16} | changes
        return TransformerConfig(**fields)

    return make
