"""A text drawn token by token; the background of each token shows how much it surprised the model.

It wraps like text. Pointing, tapping and the arrow keys show a token's numbers, without a request to the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="strip">
  <div class="text" tabindex="0" role="group"></div>
  <div class="tip" role="status"></div>
</div>
<div class="legend"></div>
"""

MUCH = 8.0
"""Bits at which the background has its full colour: a probability of 1/256."""

_component = Component("token_strip", HTML)


@dataclass(frozen=True)
class StripToken:
    """One token of a strip.

    Attributes:
        text: The token's text.
        bits: How much it surprised the model; sets the strength of the background.
        title: The text beside the token in its tooltip.
        values: One text for each of the strip's labels, in its tooltip.
        top: Other candidates, (text, probability), most probable first.
        is_unknown: Whether it is underlined because it is not in the vocabulary.
    """

    text: str
    bits: float
    title: str
    values: tuple[str, ...]
    top: tuple[tuple[str, float], ...] = ()
    is_unknown: bool = False


class Candidate(Protocol):
    """A possible next token and its probability."""

    @property
    def text(self) -> str:
        """The token."""

    @property
    def probability(self) -> float:
        """Between 0 and 1."""


def top_candidates(found: Sequence[Candidate]) -> tuple[tuple[str, float], ...]:
    """Return candidates in the form of `StripToken.top`."""
    return tuple((candidate.text, candidate.probability) for candidate in found)


def message(
    tokens: Sequence[StripToken],
    *,
    labels: Sequence[str],
    words: Mapping[str, str],
    prompt: Sequence[str] = (),
    mark: int | None = None,
    tallest: int | None = None,
    is_even: bool = False,
    ground: str = "surprise",
) -> dict[str, Any]:
    """Return what is sent to the browser; see `token_strip` for the arguments. Each candidate's text is sent once."""
    vocabulary: dict[str, int] = {}
    tops = [
        [(vocabulary.setdefault(text, len(vocabulary)), round(share, 4)) for text, share in token.top]
        for token in tokens
    ]
    return {
        "prompt": [(visible_token(text), _breaks(text)) for text in prompt],
        "texts": [visible_token(token.text) for token in tokens],
        "breaks": [index for index, token in enumerate(tokens) if _breaks(token.text)],
        "blanks": [int(token.text.isspace()) for token in tokens],
        "unknown": [index for index, token in enumerate(tokens) if token.is_unknown],
        "bits": [round(token.bits, 2) for token in tokens],
        "titles": [token.title for token in tokens],
        "labels": list(labels),
        "values": [[token.values[row] for token in tokens] for row in range(len(labels))],
        "vocabulary": [visible_token(text) for text in vocabulary],
        "tops": tops,
        "mark": mark,
        "much": MUCH,
        "tallest": tallest,
        "even": is_even,
        "words": dict(words),
        **both_themes("brand", surprise=ground),
    }


def _breaks(text: str) -> bool:
    return text.endswith("\n")


def token_strip(
    tokens: Sequence[StripToken],
    *,
    key: str,
    labels: Sequence[str],
    words: Mapping[str, str],
    prompt: Sequence[str] = (),
    mark: int | None = None,
    tallest: int | None = None,
    is_even: bool = False,
    ground: str = "surprise",
) -> None:
    """Draw the strip.

    Args:
        tokens: The tokens that are coloured, in order.
        key: Key of the element.
        labels: Names of the tokens' `values`.
        words: `label` (for screen readers) and `also` (above the candidates); for a legend also `none` and `much`
            (both ends of the scale) and `hint`.
        prompt: Tokens before them, drawn without colour.
        mark: Index of a token that is framed.
        tallest: Maximum height in pixels; a longer text scrolls.
        is_even: Whether it always has that height on wide screens, so that strips side by side are equally tall.
        ground: Name of the background colour in the palette, for `bits` that are no surprise but another measure.
    """
    data = message(
        tokens,
        labels=labels,
        words=words,
        prompt=prompt,
        mark=mark,
        tallest=tallest,
        is_even=is_even,
        ground=ground,
    )
    _component(key=key, data=data)
