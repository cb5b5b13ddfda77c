"""The texts that activate one unit of a feed-forward block most, in numbers and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.components.token_strip import MUCH, StripToken
from minigpt.app.session.reading import Reading, read_few
from minigpt.app.session.run_text import windows
from minigpt.app.texts import percent, quoted, t

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.runs.loading import Run

WINDOW = 64
"""Tokens of one window of the run's text."""
FEWEST_WINDOWS, MOST_WINDOWS = 8, 256
BUDGET = 2e11
"""Floating point operations that one search may cost: a few seconds of one core; larger models search less text."""
NUM_SNIPPETS = 8
LEAD_IN = 16
"""Tokens at the beginning of a window that are not searched: units react to the missing text before them."""


@dataclass(frozen=True)
class UnitSnippet:
    """A piece of text around a place where a unit's activation is high.

    Attributes:
        tokens: Texts of its tokens.
        values: The unit's activation at each of them.
        peak: Index of the place.
    """

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    peak: int

    @property
    def value(self) -> float:
        """The activation at the place."""
        return self.values[self.peak]


@dataclass(frozen=True)
class UnitView:
    """The texts that activate one unit most.

    Attributes:
        layer: Of the unit, counted from 0.
        unit: Counted from 0.
        snippets: The strongest first.
        num_tokens: How many tokens were searched, without the skipped ones at the beginning of each window.
        is_corpus: Whether the run's own text was searched; else it was the prompt.
    """

    layer: int
    unit: int
    snippets: tuple[UnitSnippet, ...]
    num_tokens: int
    is_corpus: bool


@dataclass(frozen=True)
class Units:
    """The number of units of a model, and the units that the prompt activates most.

    Attributes:
        reading: The prompt.
        width: F, units in each feed-forward block.
        strongest: For each of the L layers, the most active units at the last token, the strongest first.
    """

    reading: Reading
    width: int
    strongest: tuple[tuple[int, ...], ...]

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.strongest)

    def next_unit(self, layer: int, unit: int) -> int:
        """Return the next strongest unit after this one; after the last one, the first again."""
        units = self.strongest[layer]
        return units[(units.index(unit) + 1) % len(units)] if unit in units else units[0]


def units_of(run: Run, prompt: str) -> Units:
    """Return the units that a prompt activates most."""
    import torch

    from minigpt.interpret.neurons import strongest_units

    reading = read_few(run, prompt)
    strongest = strongest_units(run.model, torch.tensor([reading.ids]), NUM_SNIPPETS)
    return Units(reading, run.model.config.ff_width, tuple(map(tuple, strongest)))


def unit_of(run: Run, ref: RunRef, layer: int, unit: int, prompt: str, cancelled: Callable[[], bool]) -> UnitView:
    """Search the run's corpus, or the prompt if it is not available, for the texts that activate a unit most.

    Args:
        run: The run at one step.
        ref: Reference to the same run.
        layer: Counted from 0.
        unit: Counted from 0.
        prompt: The visitor's text.
        cancelled: Called before each batch of windows; the work stops when it returns True.
    """
    import torch

    from minigpt.interpret.neurons import top_snippets

    length = min(WINDOW, run.model.config.sequence_length)
    affordable = int(BUDGET / (2 * run.model.num_parameters() * length))
    found = windows(ref, run, length, max(FEWEST_WINDOWS, min(MOST_WINDOWS, affordable)))
    ids = np.array([read_few(run, prompt).ids]) if found is None else found
    skipped = 0 if found is None else min(LEAD_IN, length // 4)
    snippets = top_snippets(
        run.model, torch.from_numpy(ids), layer, unit, NUM_SNIPPETS, skipped=skipped, cancelled=cancelled
    )
    text_of = run.tokenizer.token_text
    return UnitView(
        layer,
        unit,
        tuple(UnitSnippet(tuple(map(text_of, one.ids)), one.values, one.peak) for one in snippets),
        len(ids) * (ids.shape[1] - skipped),
        found is not None,
    )


def strip_tokens(view: UnitView, snippet: UnitSnippet) -> list[StripToken]:
    """Return a snippet's tokens for drawing; the highest activation of all snippets gets the full colour."""
    highest = max((one.value for one in view.snippets), default=0.0)
    return [
        StripToken(token, bits=MUCH * max(0.0, value) / highest if highest > 0 else 0.0, values=(f"{value:.2f}",))
        for token, value in zip(snippet.tokens, snippet.values, strict=True)
    ]


def unit_sentences(view: UnitView) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    top, place = view.snippets[0], {"unit": view.unit + 1, "layer": view.layer + 1}
    if top.value <= 0:
        return [t("circuits.see_silent", **place)]
    sentences = [
        t(
            "circuits.see_unit" if top.peak else "circuits.see_unit_first",
            **place,
            token=quoted(top.tokens[top.peak]),
            before=quoted("".join(top.tokens[max(0, top.peak - 8) : top.peak])),
            value=f"**{top.value:.2f}**",
        )
    ]
    if len(view.snippets) > 1:
        peaks = Counter(snippet.tokens[snippet.peak] for snippet in view.snippets)
        ((token, count),) = peaks.most_common(1)
        share = f"**{percent(count / len(view.snippets))}**"
        sentences.append(t("circuits.see_unit_token", token=quoted(token), share=share, count=len(view.snippets)))
    return sentences
