"""What generation and evaluation need of a run: a model, and the tokenizer that it was trained with.

This is a protocol and not an abstract base class, as tokenizers and samplers have one. A tokenizer or a sampler is
chosen by name among several kinds, which share code. There is one model, `Transformer`, whose kinds are settings, so a
base class would have one subclass. What differs is where a model and its tokenizer come from: a loaded run, a model
in training, or a pair of one's own. Each only has to have the two attributes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

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


def load_language_model(
    name: str | Path, *, step: int | Literal["best", "last"] | None = None, device: str = "cpu"
) -> LanguageModel:
    """Load a run for `from_checkpoint`: the one loader that generation and evaluation share.

    Arguments, errors and result are those of `minigpt.load_run`. Runs are layers above this module, so their loader is
    found by its name at the moment of the call, as `import minigpt` finds the public names.
    """
    loading = importlib.import_module("minigpt.runs.loading")
    return cast("LanguageModel", loading.load_run(name, step=step, device=device))


@runtime_checkable
class RemembersText(Protocol):
    """A model that knows what it learned from; a loaded run does."""

    def learned_text(self) -> str:
        """Return the training part of its text.

        Raises:
            CorpusError: The text is not on this machine.
        """
