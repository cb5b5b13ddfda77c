"""What the Forward page shows, as plain data; `forward_words` says it, the page and its picture only draw it.

A box is one step of the forward pass. What is known about steps (where they stand in the picture, the letters of their
shape, what is said about them) lies in one table; a step that the table does not know is shown all the same.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigpt.app.forward.source import SourceLines, called_in, lines_of, lines_of_point, return_of
from minigpt.app.session.reading import Reading, read_prompt

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.config import TransformerConfig
    from minigpt.interpret.forward import ForwardPass

STREAM, ATTENTION, FEEDFORWARD, INPUT, OUTPUT = "stream", "attention", "feedforward", "input", "output"


@dataclass(frozen=True)
class Known:
    """What is known about a step of this name.

    Attributes:
        letters: Of its shape, without the batch.
        column: Steps of one column stand below each other in the picture; "" is a column of its own.
        colour: Name in the palette of what it means, "" where it has no colour of its own.
    """

    letters: str
    column: str = ""
    colour: str = ""


KNOWN = {
    "ids": Known("T"),
    "embed": Known("T D"),
    "pos_embed": Known("T D"),
    "resid_pre": Known("T D", colour="reference"),
    "attn_in": Known("T D"),
    "q": Known("H T K", "qkv", "query"),
    "k": Known("Hkv S K", "qkv", "key"),
    "v": Known("Hkv S K", "qkv", "value"),
    "attn_scores_raw": Known("H T S", "scores"),
    "attn_scores": Known("H T S", "scores"),
    "attn_scores_masked": Known("H T S", "scores"),
    "attn_pattern": Known("H T S", colour="attention"),
    "z": Known("H T K", "mix", "value"),
    "attn_out": Known("T D", "mix"),
    "resid_mid": Known("T D", colour="reference"),
    "ff_in": Known("T D"),
    "ff_pre": Known("T F"),
    "ff_act": Known("T F"),
    "ff_out": Known("T D"),
    "resid_post": Known("T D", colour="reference"),
    "final_norm": Known("T D"),
    "logits": Known("T V"),
    "probabilities": Known("T V", colour="attention"),
}
SCORES = ("attn_scores_raw", "attn_scores", "attn_scores_masked", "attn_pattern")
"""In the order of `minigpt.viz.attention.attention_map`'s stages."""

FIRST = "embed"
"""The box that is open when the page is first seen: where text has just become numbers."""


@dataclass(frozen=True)
class Statistics:
    """Numbers about numbers; minus infinity, where the mask lies, is left out and counted."""

    low: float
    high: float
    mean: float
    std: float
    norm: float
    blocked: int


def statistics(values: np.ndarray) -> Statistics:
    """Describe an array.

    >>> statistics(np.array([3.0, 4.0, -np.inf]))
    Statistics(low=3.0, high=4.0, mean=3.5, std=0.5, norm=5.0, blocked=1)
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:  # a training that went astray leaves no number
        return Statistics(*[math.nan] * 5, blocked=int(values.size))
    return Statistics(
        low=float(finite.min()),
        high=float(finite.max()),
        mean=float(finite.mean()),
        std=float(finite.std()),
        norm=float(np.sqrt(np.square(finite).sum())),
        blocked=int(values.size - finite.size),
    )


@dataclass(frozen=True)
class Box:
    """One step of the forward pass, as it stands in the picture.

    Attributes:
        name: Of the step: a point of the model, a norm, `ids` or `probabilities`.
        layer: The block it belongs to, from 0; None outside the blocks.
        place: input, stream, attention, feedforward or output.
        column: Boxes with the same one stand below each other.
        part: Of the block or the model, which answered with it, for example `attention_norm`; "" where none did.
        values: Without the batch.
        source: The lines that compute it.
    """

    name: str
    layer: int | None
    place: str
    column: str
    part: str
    values: np.ndarray
    source: tuple[SourceLines, ...]

    @property
    def subject(self) -> str:
        """What texts about it are about: norms and convolutions are alike wherever they stand."""
        for kind in ("norm", "convolution"):
            if self.part.endswith(kind):
                return kind
        return self.name


@dataclass(frozen=True)
class ForwardView:
    """A prompt on its way through a model, with one block open.

    Attributes:
        reading: The prompt.
        config: The model's shape.
        vocab_size: V.
        step: Weight updates behind the model.
        layer: The block that is open, from 0.
        boxes: All steps outside the blocks and in the open one, in order of computation.
        streams: The first numbers of the stream as it leaves each block, (L, T, n).
        lengths: Mean length of a position's vector before the first and after each block, (L + 1,).
        vocabulary: The text of every token.
    """

    reading: Reading
    config: TransformerConfig
    vocab_size: int
    step: int
    layer: int
    boxes: tuple[Box, ...]
    streams: np.ndarray
    lengths: np.ndarray
    vocabulary: tuple[str, ...]

    @functools.cached_property
    def _counts(self) -> tuple[int, int]:
        """How many boxes stand before the blocks, and how many in one."""
        inside = sum(box.layer is not None for box in self.boxes)
        return sum(box.place == INPUT for box in self.boxes), inside

    @property
    def num_steps(self) -> int:
        """How many steps the whole model takes, every block opened."""
        return len(self.boxes) + (self.config.num_layers - 1) * self._counts[1]

    def find(self, name: str) -> Box:
        """Return the box of that name; where there is none, the first one that is open by default, or any."""
        named = {box.name: box for box in self.boxes}
        return named.get(name) or named.get(FIRST) or self.boxes[0]

    def number_of(self, box: Box) -> int:
        """Return the place of a box among all steps of the model, from 1."""
        before, inside = self._counts
        index = self.boxes.index(box)
        if index >= before + inside:
            index += (self.config.num_layers - 1) * inside
        elif index >= before:
            index += self.layer * inside
        return index + 1


def view_of(run: LoadedRun, text: str, layer: int = 0) -> ForwardView:
    """Run the model on a prompt and return what the page shows.

    Args:
        run: The run at one step.
        text: The prompt.
        layer: The block to open, clipped to what the model has.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
    """
    import torch

    from minigpt.interpret.forward import forward_pass

    model, tokenizer = run.model, run.tokenizer
    layer = max(0, min(layer, model.config.num_layers - 1))
    reading = read_prompt(tokenizer, text, model.config.sequence_length)
    passed = forward_pass(model, torch.tensor([reading.ids]), layer)
    return ForwardView(
        reading=reading,
        config=model.config,
        vocab_size=model.vocab_size,
        step=run.step,
        layer=layer,
        boxes=_boxes(run, passed),
        streams=passed.streams,
        lengths=passed.lengths,
        vocabulary=tuple(tokenizer.token_text(token) for token in range(model.vocab_size)),
    )


def _boxes(run: LoadedRun, passed: ForwardPass) -> tuple[Box, ...]:
    boxes: list[Box] = []

    def add(name: str, values: np.ndarray, layer: int | None, place: str) -> None:
        known = KNOWN.get(name)
        part = passed.parts.get(name, "") if layer is not None else "final_norm" if name == "final_norm" else ""
        source = _source(run, name, layer, part)
        boxes.append(Box(name, layer, place, (known and known.column) or name, part, values, source))

    for name, values in passed.before.items():
        add(name, values, None, INPUT)
    branch = ATTENTION
    for name, values in passed.inside.items():
        is_stream = name.startswith("resid_")
        add(name, values, passed.layer, STREAM if is_stream else branch)
        if name == "resid_mid":
            branch = FEEDFORWARD
    for name, values in passed.after.items():
        add(name, values, None, OUTPUT)
    return tuple(boxes)


def _source(run: LoadedRun, name: str, layer: int | None, part: str) -> tuple[SourceLines, ...]:
    """Return the lines that compute a step: where it happens, then what is called there and does the arithmetic."""
    from minigpt.interpret.trace import Trace
    from minigpt.model.attention import explicit_attention

    if name == "ids":
        return (lines_of(type(run.tokenizer).encode_array),)
    if name == "probabilities":
        return (lines_of(Trace.probabilities.fget),)  # type: ignore[attr-defined]
    point = lines_of_point(run.model, name)
    found = [] if point is None else [point]
    if name == "z":
        found.append(return_of(explicit_attention))
    if part:
        owner: Any = run.model if layer is None else run.model.blocks[layer]
        found.append(lines_of(type(getattr(owner, part)).forward))
        found += called_in(found[-1])
    elif name == "ff_act" and point is not None:
        found += called_in(point)
    return tuple(found)


def candidates(view: ForwardView, position: int, count: int = 5) -> list[tuple[str, float]]:
    """Return the likeliest next tokens after a position and their probabilities."""
    row = np.nan_to_num(view.find("probabilities").values[position])
    order = np.argsort(-row, kind="stable")[:count]
    return [(view.vocabulary[token], float(row[token])) for token in order]
