"""One step of the forward pass as a box of the picture: its place, its name, its shape, and what it does.

One table describes the known steps. A step that is not in the table is shown too, under its name in the code.
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
class StepInfo:
    """Describes a step.

    Attributes:
        letters: Letters of its shape, without the batch.
        column: Steps of the same column are drawn below each other; "" is a column of its own.
        colour: Name of its colour in the palette, "" if it has none.
    """

    letters: str
    column: str = ""
    colour: str = ""


KNOWN = {
    "ids": StepInfo("T"),
    "embed": StepInfo("T D"),
    "pos_embed": StepInfo("T D"),
    "resid_pre": StepInfo("T D", colour="reference"),
    "attn_in": StepInfo("T D"),
    "q": StepInfo("H T K", "qkv", "query"),
    "k": StepInfo("Hkv S K", "qkv", "key"),
    "v": StepInfo("Hkv S K", "qkv", "value"),
    "attn_scores_raw": StepInfo("H T S", "scores"),
    "attn_scores": StepInfo("H T S", "scores"),
    "attn_scores_masked": StepInfo("H T S", "scores"),
    "attn_pattern": StepInfo("H T S", colour="attention"),
    "z": StepInfo("H T K", "mix", "value"),
    "attn_out": StepInfo("T D", "mix"),
    "resid_mid": StepInfo("T D", colour="reference"),
    "ff_in": StepInfo("T D"),
    "ff_pre": StepInfo("T F"),
    "ff_act": StepInfo("T F"),
    "ff_out": StepInfo("T D"),
    "resid_post": StepInfo("T D", colour="reference"),
    "final_norm": StepInfo("T D"),
    "logits": StepInfo("T V"),
    "probabilities": StepInfo("T V", colour="attention"),
}

SCORES = ("attn_scores_raw", "attn_scores", "attn_scores_masked", "attn_pattern")
"""The steps with a number for each query and key, in the order of the stages of `viz.attention.attention_map`."""


@dataclass(frozen=True)
class Box:
    """One step of the forward pass, drawn as one box.

    Attributes:
        name: Name of the step: a hook point of the model, a norm, `ids` or `probabilities`.
        layer: The block it belongs to, from 0; None outside the blocks.
        place: `input`, `stream`, `attention`, `feedforward` or `output`.
        column: Boxes of the same column are drawn below each other.
        part: Module of the block or the model that returned it, for example `attention_norm`; "" if no module did.
        values: Its numbers, without the batch.
        source: The lines of code that compute it.
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
        """The step that texts describe: all norms before a layer share their texts, and so do all convolutions."""
        if self.place == STREAM:  # with post-norm the stream comes out of a norm
            return self.name
        for kind in ("norm", "convolution"):
            if self.part.endswith(kind):
                return kind
        return self.name

    @property
    def is_scores(self) -> bool:
        """Whether its values have the shape (H, T, S): heads, queries, keys."""
        return self.values.ndim == 3 and self.name in SCORES


def _letters(box: Box) -> list[str]:
    """Return the letters of a box's shape, none if they are not known.

    A model variant may use a known name for another shape, so the number of letters must match.
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
    """Return the meaning of each letter of a box's shape, "" if the letters are not known."""
    return " · ".join(t(f"forward.letter_{letter.lower()}") for letter in _letters(box))


_SETTING = {
    "norm": "norm", "ff_act": "activation", "q": "positions", "k": "positions", "logits": "tie_embeddings",
    "embed": "positions", "pos_embed": "positions",
}  # fmt: skip
"""The model setting that selects among several texts about a step."""


def _variant(box: Box, config: TransformerConfig) -> str:
    """Return the suffix of the text about a step that fits this model: by kind of norm, activation and so on."""
    match box.subject:
        case "resid_mid" | "resid_post" | "attn_out" | "ff_out":
            return "_".join(
                ["replaced"] * (not config.residual) + ["post"] * (config.norm_position == "post")
            )  # what a layer does with the stream
        case "attn_scores":
            return "_".join(["cap"] * (config.logit_cap is not None) + ["alibi"] * (config.positions == "alibi"))
        case "attn_scores_masked":
            is_windowed = config.visible_length < config.sequence_length
            return "_".join(["false"] * (not config.causal) + ["window"] * is_windowed)
        case subject:
            return str(getattr(config, _SETTING.get(subject, ""), "")).lower()


def title_of(box: Box, config: TransformerConfig) -> str:
    """Return the title of a box: from the text catalogue, else its name in the code."""
    if box.name == "final_norm":
        return t("forward.box_final_norm")
    for key in (f"forward.box_{box.subject}_{_variant(box, config)}", f"forward.box_{box.subject}"):
        if has(key):
            return t(key)
    return box.name


def meaning_of(box: Box, config: TransformerConfig, vocab_size: int) -> str:
    """Return one sentence on what a step does."""
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
                cap=config.logit_cap or 0,
                window=config.attention_window or 0,
            )
    return t("forward.say_unknown")


def place_of(box: Box, config: TransformerConfig) -> str:
    """Return the part of the model to which a box belongs."""
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
