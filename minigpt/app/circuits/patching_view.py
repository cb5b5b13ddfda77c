"""Activation patching in numbers and words: how far copied activations restore the first text's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.session.reading import FEW_TOKENS, Reading, read_prompt
from minigpt.app.texts import percent, quoted, t
from minigpt.errors import ShapeError
from minigpt.interpret.places import largest
from minigpt.viz.labels import head_name, visible_token

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

BUDGET = 1e11
"""Floating point operations that one map may cost: a few seconds of one core. Longer texts are cut to stay below."""
FEWEST_TOKENS = 8
MIN_GAP_CHANGE = 0.1
"""If the score difference changes by less than this between the texts, both lead to one answer: shares are noise."""


@dataclass(frozen=True)
class PatchView:
    """Two texts of equal length, and how far patching restores the first one's answer.

    Attributes:
        clean: The first text.
        corrupt: The second.
        target: The answer to the first, as text.
        versus: The answer to the second, as text.
        shares: Probability of the first answer after each text.
        maps: The shares that patching restores; None if both texts lead to the same answer.
    """

    clean: Reading
    corrupt: Reading
    target: str
    versus: str
    shares: tuple[float, float]
    maps: PatchMaps | None


@dataclass(frozen=True)
class PatchMaps:
    """The share of the difference between two answers that patching restores.

    Attributes:
        residual: Patched at each place and position of the stream, (P, T).
        heads: Patched one head at all positions, (L, H).
    """

    residual: np.ndarray
    heads: np.ndarray


def most_tokens(run: Run) -> int:
    """Return how many tokens of each text are compared."""
    from minigpt.interpret.patching import affordable_tokens

    affordable = affordable_tokens(run.model, BUDGET)
    return max(FEWEST_TOKENS, min(FEW_TOKENS // 2, affordable, run.model.config.sequence_length))


def patched(run: Run, first: str, second: str, cancelled: Callable[[], bool]) -> PatchView:
    """Compare two texts and patch the first one's stream into the second's.

    Args:
        run: The run at one step.
        first: The clean text.
        second: The corrupted one.
        cancelled: Called between forward passes; the work stops when it returns True.

    Raises:
        ShapeError: They do not have the same number of tokens.
    """
    import torch

    from minigpt.interpret.patching import patch_heads, patch_residual
    from minigpt.interpret.trace import trace_forward

    length = min(most_tokens(run), run.model.config.sequence_length)
    clean, corrupt = (read_prompt(run, text, length) for text in (first, second))
    if clean.num_given != corrupt.num_given:
        raise ShapeError(
            t("circuits.unequal", first=clean.num_given, second=corrupt.num_given), mend=t("circuits.unequal_mend")
        )
    ids, other = torch.tensor([clean.ids]), torch.tensor([corrupt.ids])
    after_clean, after_corrupt = (trace_forward(run.model, one).logits[0, -1].double() for one in (ids, other))
    target = int(after_clean.argmax())
    ranked = after_corrupt.argsort(descending=True, stable=True).tolist()
    versus = next(token for token in ranked if token != target)
    gaps = [float(logits[target] - logits[versus]) for logits in (after_clean, after_corrupt)]
    shares = (float(after_clean.softmax(dim=-1)[target]), float(after_corrupt.softmax(dim=-1)[target]))
    maps = None
    if abs(gaps[0] - gaps[1]) >= MIN_GAP_CHANGE:
        residual = patch_residual(run.model, ids, other, target=target, versus=versus, cancelled=cancelled)
        heads = patch_heads(run.model, ids, other, target=target, versus=versus, cancelled=cancelled)
        maps = PatchMaps(residual, heads)
    text_of = run.tokenizer.token_text
    return PatchView(clean, corrupt, text_of(target), text_of(versus), shares, maps)


def one_changed(run: Run, text: str) -> str:
    """Return the text with one token changed so that the answer changes; see `turning_change`.

    Args:
        run: The run at one step.
        text: The clean text; if it is long, only its end is searched.
    """
    import torch

    from minigpt.generation.inference import cleaned_for
    from minigpt.interpret.patching import turning_change

    tokenizer, text = run.tokenizer, cleaned_for(run, text)
    reading = read_prompt(run, text, most_tokens(run))
    ids = tokenizer.encode(text)
    before = ids[: len(ids) - len(reading.ids)]

    def comes_back(changed: list[int]) -> bool:
        """Say whether the text of the changed tokens is cut into the same tokens again."""
        return tokenizer.encode(tokenizer.decode([*before, *changed])) == [*before, *changed]

    tokens = torch.tensor([reading.ids])
    change = turning_change(run.model, tokens, excluded=tokenizer.special_ids, accepts=comes_back)
    if change is None:
        return text
    position, token = change
    ids[len(ids) - len(reading.ids) + position] = token
    return tokenizer.decode(ids)


def patching_sentences(view: PatchView, maps: PatchMaps) -> list[str]:
    """Return three sentences that quote the numbers on screen: on the answers, the stream, and the heads."""
    # After the last block, the last position holds the answer itself, so the largest share is searched before that.
    has_inner = len(maps.residual) > 2
    inner = maps.residual[1:-1] if has_inner else maps.residual[1:]
    place, position = largest(inner)
    head = largest(maps.heads)
    return [
        t(
            "circuits.see_answers",
            target=quoted(view.target),
            first=f"**{percent(view.shares[0])}**",
            second=f"**{percent(view.shares[1])}**",
            versus=quoted(view.versus),
        ),
        t(
            "circuits.see_patch_between" if has_inner else "circuits.see_patch",
            position=position + 1,
            token=quoted(visible_token(view.clean.tokens[position])),
            block=place + 1,
            share=_whole_percent(inner[place, position]),
        ),
        t("circuits.see_patch_head", head=f"**{head_name(*head)}**", share=_whole_percent(maps.heads[head])),
    ]


def _whole_percent(share: float) -> str:
    """Write a share that can lie below 0 and above 1, in bold."""
    return f"**{share * 100:.0f}\u00a0%**"
