"""Shared by the tests of the model: small configurations and a generator."""

import pytest
import torch

from minigpt.config import TransformerConfig


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture
def small():
    """A function that returns a small configuration with the given changes."""

    def make(**changes):
        fields = {"num_layers": 2, "num_heads": 4, "d_model": 32, "sequence_length": 16} | changes
        return TransformerConfig(**fields)

    return make
