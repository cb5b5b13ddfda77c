"""Data for every section of the Attention page: all heads on one text, and the open head stage by stage.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.components.attention_grid import to_bytes
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import percent, t
from minigpt.errors import LimitError
from minigpt.viz.labels import head_name

if TYPE_CHECKING:
    from minigpt.config import TransformerConfig
    from minigpt.interpret.head_output import HeadOutput
    from minigpt.interpret.heads import HeadHabits, HeadStages
    from minigpt.runs.loading import Run

MOST_WEIGHTS = 1 << 25
"""Most weights of all heads together: 512 heads over 256 tokens. With the scores before them they take 0.5 GB."""

FOCUSED = 0.35
"""A head that gives a larger share than this to one kind of place is named after that place."""


@dataclass(frozen=True)
class AttentionView:
    """All heads on one prompt, and one of them at every stage, from one forward pass.

    Attributes:
        reading: The prompt.
        weights: Of all heads, uint8, (L, H, T, T).
        habits: Where each head looks, measured on the exact weights.
        layer: Layer of the open head, counted from 0.
        head: The open head, counted from 0.
        stages: Its scores and weights at every stage.
        output: The sum of its values with these weights.
        causal: Whether the model has a causal mask.
        d_head: Width of one head.
        step: Training step of the weights.
    """

    reading: Reading
    weights: np.ndarray
    habits: HeadHabits
    layer: int
    head: int
    stages: HeadStages
    output: HeadOutput
    causal: bool
    d_head: int
    step: int

    @property
    def name(self) -> str:
        """The open head's name on the page."""
        return head_name(self.layer, self.head)

    @property
    def place(self) -> tuple[int, int]:
        """(layer, head) of the open head."""
        return self.layer, self.head

    @property
    def mean_weights(self) -> np.ndarray:
        """The weights averaged over all heads of all layers, (T, T), as exact as one byte for each weight allows."""
        mean: np.ndarray = self.weights.mean(axis=(0, 1)) / 255
        return mean


def view_of(run: Run, text: str, head: tuple[int, int] | None = None) -> AttentionView:
    """Run the model on a prompt and return what the page shows.

    Args:
        run: The run at one step.
        text: The prompt.
        head: (layer, head) to open, clipped to what the model has. None: the head that looks most at the previous
            token, or at the next token if the model has no mask.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
        LimitError: The maps of all heads are too large.
    """
    import torch

    from minigpt.interpret.head_output import head_output
    from minigpt.interpret.heads import attention_patterns, head_habits, head_stages
    from minigpt.interpret.trace import trace_forward

    config = run.model.config
    reading = read_prompt(run, text, config.sequence_length)
    check_maps(config, len(reading.ids))
    trace = trace_forward(run.model, torch.tensor([reading.ids]))
    patterns = attention_patterns(trace)
    habits = head_habits(patterns)
    layer, number = habits.find("previous" if config.causal else "ahead") if head is None else head
    layer, number = min(layer, config.num_layers - 1), min(number, config.num_heads - 1)
    return AttentionView(
        reading=reading,
        weights=to_bytes(patterns),
        habits=habits,
        layer=layer,
        head=number,
        stages=head_stages(trace, layer, number),
        output=head_output(trace, layer, number),
        causal=config.causal,
        d_head=config.d_head,
        step=run.step,
    )


def check_maps(config: TransformerConfig, num_tokens: int) -> None:
    """Refuse maps of all heads that are too large for the memory and for a browser.

    Args:
        config: The model's shape.
        num_tokens: T, tokens of the text.

    Raises:
        LimitError: They have more than `MOST_WEIGHTS` weights; the message has both numbers.
    """
    heads = config.num_layers * config.num_heads
    weights = heads * num_tokens**2
    if weights > MOST_WEIGHTS:
        raise LimitError(
            f"The maps of {heads:,} heads over {num_tokens:,} tokens have {weights:,} weights; "
            f"this page draws up to {MOST_WEIGHTS:,}.",
            mend=f"Give a text of at most {math.isqrt(MOST_WEIGHTS // heads):,} tokens, or choose a smaller model.",
        )


def captions(habits: HeadHabits) -> list[list[str]]:
    """Return the caption under each head's map, one or two words, [layer][head]."""
    layers, heads = habits.previous.shape
    return [[_caption(habits, layer, head) for head in range(heads)] for layer in range(layers)]


def _caption(habits: HeadHabits, layer: int, head: int) -> str:
    habit, share = habits.strongest(layer, head)
    if share < FOCUSED:
        return t("attention.caption_spread", reach=f"{habits.reach[layer, head]:.0f}")
    return t(f"attention.caption_{habit}", share=percent(share))


def head_labels(habits: HeadHabits) -> dict[tuple[int, int], str]:
    """Return the options of the list of heads: (layer, head) to name and caption."""
    return {
        (layer, head): f"{head_name(layer, head)} · {caption}"
        for layer, row in enumerate(captions(habits))
        for head, caption in enumerate(row)
    }
