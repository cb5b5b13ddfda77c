"""What the Attention page shows, as plain data and sentences; the page only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.components.attention_grid import to_bytes
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import percent, quoted, t
from minigpt.viz.palette import head_name, visible_token

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.interpret.head_output import HeadOutput
    from minigpt.interpret.heads import HeadHabits, HeadStages

FOCUSED = 0.35
"""A head that gives a larger share than this to one place is named after it."""

FAINTEST = 0.01
"""Weights below this have no line between tokens, and nobody is said to look there; as in `attention_lines.js`."""


@dataclass(frozen=True)
class AttentionView:
    """All heads on one prompt, and one of them at every stage, from one forward pass.

    Attributes:
        reading: The prompt.
        weights: uint8, (L, H, T, T).
        habits: Where each head looks, measured on the exact weights.
        layer: Of the head that is open, counted from 0.
        head: The head that is open, counted from 0.
        stages: Its numbers up to the weights.
        output: What it mixes with them.
        causal: Whether the model has a mask.
        d_head: Width of one head.
        step: Weight updates behind the model.
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
        """What the open head is called."""
        return head_name(self.layer, self.head)


def view_of(run: LoadedRun, text: str, head: tuple[int, int] | None = None) -> AttentionView:
    """Run the model on a prompt and return what the page shows.

    Args:
        run: The run at one step.
        text: The prompt.
        head: (layer, head) to open, clipped to what the model has; None: the one that most looks one back, or
            one ahead where there is no mask.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
    """
    import torch

    from minigpt.interpret.head_output import head_output
    from minigpt.interpret.heads import attention_patterns, head_habits, head_stages
    from minigpt.interpret.trace import trace_forward

    config = run.model.config
    reading = read_prompt(run.tokenizer, text, config.sequence_length)
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


def captions(habits: HeadHabits) -> list[list[str]]:
    """Return the two words under each head's map."""
    layers, heads = habits.previous.shape
    return [[_caption(habits, layer, head) for head in range(heads)] for layer in range(layers)]


def _caption(habits: HeadHabits, layer: int, head: int) -> str:
    habit, share = habits.strongest(layer, head)
    if share < FOCUSED:
        return t("attention.caption_spread", reach=f"{habits.reach[layer, head]:.0f}")
    return t(f"attention.caption_{habit}", share=percent(share))


def descriptions(habits: HeadHabits) -> list[list[str]]:
    """Return a sentence for each head, for those who do not see the maps."""
    layers, heads = habits.previous.shape
    return [[habit_sentence(habits, layer, head, bold="") for head in range(heads)] for layer in range(layers)]


def habit_sentence(habits: HeadHabits, layer: int, head: int, *, bold: str = "**") -> str:
    """Return what a head does on this text, in one sentence with its number."""
    habit, share = habits.strongest(layer, head)
    name = f"{bold}{head_name(layer, head)}{bold}"
    if share < FOCUSED:
        reach = f"{bold}{habits.reach[layer, head]:.0f}{bold}"
        return t("attention.see_spread", head=name, reach=reach)
    return t(f"attention.see_{habit}", head=name, share=f"{bold}{percent(share)}{bold}")


def sentences(view: AttentionView, query: int) -> list[str]:
    """Return what the map shows, in sentences that quote its numbers."""
    tokens = view.reading.tokens
    if len(tokens) == 1:
        return [t("attention.see_one", token=quoted(tokens[0]), share=percent(1.0))]
    return [habit_sentence(view.habits, view.layer, view.head), query_sentence(view, query), mask_sentence(view)]


def query_sentence(view: AttentionView, query: int) -> str:
    """Return where one position looks most."""
    tokens, row = view.reading.tokens, view.stages.pattern[query]
    key = int(row.argmax())
    if key == query:
        target = t("attention.see_target_itself")
    else:
        place = "back" if key < query else "ahead"
        target = t(
            f"attention.see_target_{place}", token=quoted(tokens[key]), position=key + 1, distance=abs(query - key)
        )
    share = f"**{percent(float(row[key]))}**"
    return t("attention.see_query", position=query + 1, token=quoted(tokens[query]), target=target, share=share)


def mask_sentence(view: AttentionView) -> str:
    """Return what the mask does to the open head, or that there is none."""
    share = f"**{percent(view.stages.future_weight())}**"
    return t("attention.see_mask" if view.causal else "attention.see_no_mask", share=share)


def looked_sentence(view: AttentionView, query: int) -> str:
    """Return who looks most at one position, other than itself."""
    tokens, column = view.reading.tokens, view.stages.pattern[:, query].copy()
    column[query] = 0
    other = int(column.argmax())
    if column[other] < FAINTEST:
        return t("attention.see_unseen", position=query + 1, token=quoted(tokens[query]))
    return t(
        "attention.see_looked",
        position=query + 1,
        token=quoted(tokens[query]),
        other=quoted(tokens[other]),
        place=other + 1,
        share=f"**{percent(float(column[other]))}**",
    )


def stage_sentence(view: AttentionView, stage: int, query: int) -> str:
    """Return how the open head goes from one stage to the next at one position, with its numbers."""
    row = view.stages.pattern[query]
    key = int(row.argmax())
    raw, scaled = float(view.stages.raw[query, key]), float(view.stages.scaled[query, key])
    return t(
        f"attention.see_stage_{stage}",
        query=quoted(view.reading.tokens[query]),
        position=query + 1,
        key=quoted(view.reading.tokens[key]),
        place=key + 1,
        raw=f"**{raw:.2f}**",
        scaled=f"**{scaled:.2f}**",
        root=f"{view.d_head**0.5:.3g}",
        blocked=len(row) - query - 1 if view.causal else 0,
        share=f"**{percent(float(row[key]))}**",
        width=view.d_head,
    )


def csv_of(view: AttentionView) -> str:
    """Return the open head's weights as a table for a spreadsheet: a row a query, a column a key.

    A token comes after its position, so that a spreadsheet takes none for a formula.
    """
    names = [f"{index + 1} {visible_token(token)}" for index, token in enumerate(view.reading.tokens)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([t("attention.csv_corner"), *names])
    for name, row in zip(names, view.stages.pattern.tolist(), strict=True):
        writer.writerow([name, *(f"{weight:.6g}" for weight in row)])
    return file.getvalue()


def repeated(text: str, length: int = 12) -> str:
    """Return the beginning of a text three times over, so that a head that looks for repetition shows itself.

    >>> repeated("the old fox ran to the mill")
    'the old fox the old fox the old fox '
    """
    piece = text[:length].strip() or text[:length]
    return f"{piece} " * 3
