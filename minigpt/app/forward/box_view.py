"""One step of the forward pass as a box of the picture: where it stands, its name, its shape, and what it does.

What is known about steps lies in one table. A step that the table does not know is shown all the same, under the name
that it has in the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.texts import has, t
from minigpt.interpret.statistics import statistics

if TYPE_CHECKING:
    from minigpt.config import TransformerConfig
    from minigpt.interpret.source import SourceLines

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
"""The steps that hold a number for each query and key, in the order of the stages of `viz.attention.attention_map`."""


@dataclass(frozen=True)
class Box:
    """One step of the forward pass, as it stands in the picture.

    Attributes:
        name: Of the step: a point of the model, a norm, `ids` or `probabilities`.
        layer: The block it belongs to, from 0; None outside the blocks.
        place: input, stream, attention, feedforward or output.
        column: Boxes with the same one stand below each other.
        part: Module of the block or the model that returned it, for example `attention_norm`; "" if none did.
        values: Its numbers, without the batch.
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

    @property
    def is_scores(self) -> bool:
        """Whether it holds a number for each head, query and key, (H, T, S)."""
        return self.values.ndim == 3 and self.name in SCORES


def _letters(box: Box) -> list[str]:
    """Return the letters of a box's shape, none where they are not known.

    A variant may use a known name for another shape, so the number of letters has to fit.
    """
    known = KNOWN.get(box.name)
    letters = known.letters.split() if known else []
    return ["B", *letters] if letters and len(letters) == box.values.ndim else []


def shape_of(box: Box) -> str:
    """Return a shape as code writes it, in letters and numbers: `(B, T, D) = (1, 12, 128)`."""
    numbers = ", ".join(str(size) for size in (1, *box.values.shape))
    letters = ", ".join(_letters(box))
    return f"({letters}) = ({numbers})" if letters else f"({numbers})"


def letter_meanings(box: Box) -> str:
    """Return what each letter of a box's shape stands for, "" where the letters are not known."""
    return " · ".join(t(f"forward.letter_{letter.lower()}") for letter in _letters(box))


_SETTING = {
    "norm": "norm", "ff_act": "activation", "q": "positions", "k": "positions", "logits": "tie_embeddings",
    "attn_scores_masked": "causal",
}  # fmt: skip
"""The setting of the model that decides which of several texts about a step is right."""


def _variant(box: Box, config: TransformerConfig) -> str:
    """Return which of several texts about a step fits this model: by kind of norm, activation and so on."""
    return str(getattr(config, _SETTING.get(box.subject, ""), "")).lower()


def title_of(box: Box, config: TransformerConfig) -> str:
    """Return the name of a box: the catalogue's, else the one in the code."""
    if box.name == "final_norm":
        return t("forward.box_final_norm")
    for key in (f"forward.box_{box.subject}_{_variant(box, config)}", f"forward.box_{box.subject}"):
        if has(key):
            return t(key)
    return box.name


def meaning_of(box: Box, config: TransformerConfig, vocab_size: int) -> str:
    """Return in one plain sentence what a step does."""
    subject = box.name if box.name == "final_norm" else box.subject
    for key in (f"forward.say_{subject}_{_variant(box, config)}", f"forward.say_{subject}"):
        if has(key):
            return t(
                key,
                d_model=config.d_model,
                d_head=config.d_head,
                d_ff=config.ff_width,
                heads=config.num_heads,
                vocab_size=vocab_size,
                layers=config.num_layers,
            )
    return t("forward.say_unknown")


def place_of(box: Box, config: TransformerConfig) -> str:
    """Return where in the model a box stands."""
    if box.layer is not None:
        return t("forward.where_block", layer=box.layer + 1, layers=config.num_layers)
    return t(f"forward.where_{box.place}")


def short_number(value: float) -> str:
    """Write a number of any size with three significant digits.

    >>> [short_number(value) for value in (0.0, 12.345, -0.00123, 12345.6)]
    ['0', '12.3', '-0.00123', '12,346']
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def statistics_line(box: Box) -> str:
    """Return a box's statistics in one line."""
    found = statistics(box.values)
    return t(
        "forward.statistics",
        low=short_number(found.low),
        high=short_number(found.high),
        mean=short_number(found.mean),
        std=short_number(found.std),
        norm=short_number(found.norm),
    )
