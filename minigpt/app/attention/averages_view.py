"""How far back the open head looks in a longer text and how widely its weights spread, in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.attention.view import AttentionView
from minigpt.app.session import run_text
from minigpt.app.texts import percent, t
from minigpt.interpret.places import largest
from minigpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.interpret.averages import HeadAverages
    from minigpt.runs.loading import Run

NUM_WINDOWS = 8
LENGTH = 128


@dataclass(frozen=True)
class TextAverages:
    """All heads on average over a text.

    Attributes:
        averages: The numbers.
        origin: `corpus` (the run's own text), `samples` (what it wrote during training) or `prompt` (the visitor's).
        length: Tokens of one window.
    """

    averages: HeadAverages
    origin: str
    length: int

    @property
    def furthest(self) -> tuple[int, int]:
        """(layer, head) of the head that looks furthest back on average."""
        return largest(self.averages.mean_distance)


def text_averages(ref: RunRef, run: Run, prompt: tuple[int, ...]) -> TextAverages:
    """Average all heads over the run's own text; if that is not available, over its samples, else over the prompt.

    Args:
        ref: The run.
        run: The same run, loaded at one step.
        prompt: Ids of the prompt.
    """
    import torch

    from minigpt.interpret.averages import head_averages

    length, origin = min(run.model.config.sequence_length, LENGTH), "corpus"
    windows = run_text.windows(ref, run, length, NUM_WINDOWS)
    if windows is None:
        written, origin = "\n".join(sample.text for sample in RunFolder(ref.path).samples()[-NUM_WINDOWS:]), "samples"
        ids = np.array(run.tokenizer.encode(written), np.int64)
        count = min(NUM_WINDOWS, len(ids) // length)
        windows = ids[: count * length].reshape(count, length)
    if not len(windows):
        windows, origin = np.array([prompt]), "prompt"
    return TextAverages(head_averages(run.model, torch.tensor(windows)), origin, windows.shape[1])


def averages_caption(shown: TextAverages) -> str:
    """Return a sentence on the text that the averages were computed on."""
    return t(f"attention.averages_{shown.origin}", count=shown.averages.num_windows, length=shown.length)


def averages_sentence(shown: TextAverages, view: AttentionView) -> str:
    """Return which distance gets most of the open head's weight, and over how many tokens the head spreads."""
    profile = shown.averages.by_distance[view.place]
    spread = 2.0 ** shown.averages.entropy[view.place]
    distance = int(profile.argmax())
    name = {0: "itself", 1: "previous"}.get(distance, "back")
    return t(
        "attention.see_averages",
        head=f"**{view.name}**",
        place=t(f"attention.see_averages_{name}", distance=distance),
        share=f"**{percent(float(profile[distance]))}**",
        spread=f"**{float(spread[-1]):.1f}**",
        length=shown.length,
    )
