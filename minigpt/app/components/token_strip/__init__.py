"""A text drawn token by token, each token on a ground that shows how much it surprised the model.

It wraps like text. Pointing, tapping and the arrow keys open a token's numbers, without asking the server.
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
"""Bits at which the ground has its full colour: one chance in 256."""

_component = Component("token_strip", HTML)


@dataclass(frozen=True)
class StripToken:
    """One token of a strip.

    Attributes:
        text: The token as it stands in the text.
        bits: How much it surprised the model; sets the strength of the ground.
        title: The text beside the token in its tip.
        values: One text for each of the strip's labels, in its tip.
        top: Other candidates, (text, probability), most probable first.
        is_unknown: Whether it is underlined because the model does not know it.
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
    """Return candidates as `StripToken.top` takes them."""
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
        words: `label` (for screen readers) and `also` (above the candidates); `none` and `much` (both ends of the
            scale) and `hint` where a legend is wanted.
        prompt: Tokens before them, without colour.
        mark: Index of a token that is framed.
        tallest: Greatest height in pixels; a longer text scrolls.
        is_even: Whether it has that height in any case on wide screens, so that strips side by side end alike.
        ground: Name of the ground's colour in the palette, for `bits` that measure something else than surprise.
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
