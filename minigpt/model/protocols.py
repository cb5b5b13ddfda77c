"""What other layers may ask of a model: watch it, edit it, or write and score text with it.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head, F d_ff, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer

Probe = Callable[[str, torch.Tensor], torch.Tensor]
"""Called as `probe(name, tensor)` at every point of `minigpt.model.points`; the model goes on with what it returns.

Return the tensor itself to watch, another one of the same shape to edit.
"""


class LanguageModel(Protocol):
    """A model together with the tokenizer that it was trained with; a loaded run is one."""

    @property
    def model(self) -> Transformer:
        """The network."""

    @property
    def tokenizer(self) -> BaseTokenizer:
        """What turns text into its ids and back."""
