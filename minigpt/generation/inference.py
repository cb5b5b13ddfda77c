"""Run a model for its outputs only, without training it, on a text cleaned as its training text was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from minigpt.data.readers import clean_text

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel


def cleaned_for(run: LanguageModel, text: str) -> str:
    """Return a text as the run reads it: cleaned in the same way as the text that it was trained on.

    Every prompt and every scored text goes through here. Otherwise an accent written as a character of its own, or the
    line ends of Windows, would be unknown to a model that knows the same text in another spelling.

    Args:
        run: Its `config.data.clean` decides; a model without a `config` counts as trained on clean text.
        text: Any text.
    """
    config = getattr(run, "config", None)
    return clean_text(text) if config is None or config.data.clean else text


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off inside the block; afterwards the model is in its former mode again.

    Hold it around one forward pass, never across a `yield`. Inference mode belongs to the thread, so it would stay on
    in the code that asks for the next value.
    """
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
