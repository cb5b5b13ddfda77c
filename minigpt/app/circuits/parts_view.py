"""Direct logit attribution in numbers and words: what each head and block added to the score of one token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minigpt.app.circuits.lens_view import LensView
from minigpt.app.texts import quoted, t
from minigpt.viz.labels import feedforward_name, head_name, signed, visible_token

if TYPE_CHECKING:
    from minigpt.interpret.lens import Attribution
    from minigpt.runs.loading import Run

MOST_PARTS = 26
"""If there are more parts than this, the small ones are drawn as one bar, so that the sum stays exact."""
NUM_TARGETS = 6
"""So many of the likeliest tokens can be chosen for the split, and also the actual next token."""

Part = tuple[str, float]
"""Name and size."""


@dataclass(frozen=True)
class Score:
    """The score that is split into parts, with the names that the page uses.

    Attributes:
        position: Where the prediction is read, from 0.
        token: Text of the token whose score it is.
        versus: Text of the token whose score is subtracted; None: nothing is subtracted.
        total: The score, or the difference.
    """

    position: int
    token: str
    versus: str | None
    total: float


def targets_of(lens: LensView, position: int) -> dict[int, str]:
    """Return the tokens whose score after a position can be split: id to text, the likeliest first."""
    reading = lens.reading
    targets = {int(token): lens.texts[int(token)] for token in lens.top_ids[-1, position, :NUM_TARGETS]}
    if position + 1 < len(reading.ids):
        targets.setdefault(reading.ids[position + 1], reading.tokens[position + 1])
    return targets


def attribution_of(run: Run, ids: tuple[int, ...], position: int, target: int, versus: int | None) -> Attribution:
    """Split the score of a token, or its difference to that of another token, into what each part added."""
    import torch

    from minigpt.interpret.lens import logit_attribution

    return logit_attribution(run.model, torch.tensor([ids]), position, target, versus=versus)


def parts_of(attribution: Attribution) -> list[Part]:
    """Return every part's name and size in the order of computation; their sum is the attribution's total.

    Positions and biases that add nothing are left out.
    """
    layers, heads = attribution.heads.shape
    parts = [(t("circuits.part_embed"), attribution.embed)]
    if attribution.positions:
        parts.append((t("circuits.part_positions"), attribution.positions))
    for layer in range(layers):
        parts += [(head_name(layer, head), float(attribution.heads[layer, head])) for head in range(heads)]
        if len(attribution.feedforwards):
            parts.append((feedforward_name(layer), float(attribution.feedforwards[layer])))
    if abs(attribution.rest) > 1e-4:
        parts.append((t("circuits.part_rest"), attribution.rest))
    return parts


def shortened(parts: list[Part], most: int = MOST_PARTS) -> list[Part]:
    """Return at most `most` parts with the same sum: the largest in their original order, then one for all others.

    >>> [(name.split()[0], size) for name, size in shortened([("a", 1.0), ("b", 3.0), ("c", -2.0), ("d", 0.5)], 3)]
    [('b', 3.0), ('c', -2.0), ('2', 1.5)]
    """
    if len(parts) <= most:
        return parts
    order = sorted(range(len(parts)), key=lambda index: -abs(parts[index][1]))
    kept = set(order[: most - 1])
    others = [size for index, (_, size) in enumerate(parts) if index not in kept]
    shown = [part for index, part in enumerate(parts) if index in kept]
    return [*shown, (t("circuits.part_others", count=len(others)), sum(others))]


def parts_alt(parts: list[Part], score: Score) -> str:
    """Return a text alternative for the figure: the score and its largest part."""
    name, size = max(parts, key=lambda part: abs(part[1]))
    token = visible_token(score.token)
    return t("circuits.parts_alt", token=token, total=signed(score.total), part=name, size=signed(size))


def parts_sentences(parts: list[Part], score: Score) -> list[str]:
    """Return the sentences of "What you see": the sum, and the largest parts of each sign, with the numbers on screen.

    Args:
        parts: All parts, not shortened.
        score: What they add up to.
    """
    sentences = [
        t(
            "circuits.see_parts" if score.versus is None else "circuits.see_parts_versus",
            count=len(parts),
            position=score.position + 1,
            token=quoted(score.token),
            versus="" if score.versus is None else quoted(score.versus),
            total=f"**{signed(score.total)}**",
        )
    ]
    up, down = max(parts, key=lambda part: part[1]), min(parts, key=lambda part: part[1])
    for way, (part, size), has_sign in (("up", up, up[1] > 0), ("down", down, down[1] < 0)):
        if has_sign and signed(size) != signed(0):  # values that round to 0.00 are skipped
            sentences.append(t(f"circuits.see_part_{way}", part=f"**{part}**", size=f"**{signed(size)}**"))
    return sentences
