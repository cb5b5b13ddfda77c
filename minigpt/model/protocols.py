"""What generation and evaluation need of a run: a model, and the tokenizer that it was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer


class LanguageModel(Protocol):
    """A model together with the tokenizer that it was trained with; a loaded run is one."""

    @property
    def model(self) -> Transformer:
        """The neural network."""

    @property
    def tokenizer(self) -> BaseTokenizer:
        """Turns text into the token ids that the model reads, and back."""
