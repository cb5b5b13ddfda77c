"""A text drawn token by token; the background of each token shows how much it surprised the model.

It wraps like text. Pointing, tapping and the arrow keys show a token's numbers, without a request to the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from minigpt.app.components.messages import both_themes, pack
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


NONE = 65535
"""Stands for no candidate, where a token has fewer than another one."""


class StripToken(NamedTuple):
    """One token of a strip."""

    text: str
    bits: float
    """How much it surprised the model; sets the strength of the background."""
    values: tuple[str, ...]
    """One text for each of the strip's labels, in its tooltip."""
    top: tuple[tuple[str, float], ...] = ()
    """Other candidates, (text, probability), most probable first."""
    is_unknown: bool = False
    """Whether it is underlined because it is not in the vocabulary."""


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


class _Texts:
    """Different texts, each kept once, and the place of each in the list."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Return the place of a text in the list of all."""
        return self.places.setdefault(text, len(self.places))


def message(
    tokens: Sequence[StripToken],
    *,
    labels: Sequence[str],
    words: Mapping[str, str],
    title: str = "",
    first: int = 1,
    prompt: Sequence[str] = (),
    mark: int | None = None,
    tallest: int | None = None,
    is_even: bool = False,
    ground: str = "surprise",
    row: tuple[str, int] | None = None,
) -> bytes:
    """Return what is sent to the browser; see `token_strip` for the arguments.

    A long text has thousands of tokens, but few different ones. So the header has each text once, and the numbers are
    columns of places: the token, its hundredths of a bit, its value for each label, then for each candidate its text
    and its share in ten thousandths.
    """
    texts, values = _Texts(), [_Texts() for _ in labels]
    num_candidates = max((len(token.top) for token in tokens), default=0)
    columns = [[texts.place(token.text) for token in tokens], [min(round(100 * token.bits), NONE) for token in tokens]]
    columns += [[known.place(token.values[number]) for token in tokens] for number, known in enumerate(values)]
    tops = [[*token.top, *[None] * (num_candidates - len(token.top))] for token in tokens]
    for rank in range(num_candidates):
        ranked = [top[rank] for top in tops]
        columns.append([NONE if one is None else texts.place(one[0]) for one in ranked])
        columns.append([0 if one is None else round(10_000 * one[1]) for one in ranked])
    before = [texts.place(text) for text in prompt]
    header = {
        "texts": [visible_token(text) for text in texts.places],
        "breaks": [place for text, place in texts.places.items() if text.endswith("\n")],
        "blanks": [place for text, place in texts.places.items() if text.isspace()],
        "values": [list(known.places) for known in values],
        "labels": list(labels),
        "count": len(tokens),
        "prompt": before,
        "unknown": [index for index, token in enumerate(tokens) if token.is_unknown],
        "title": title,
        "first": first,
        "mark": mark,
        "much": MUCH,
        "tallest": tallest,
        "even": is_even,
        "row": None if row is None else {"name": row[0], "count": row[1]},
        "words": dict(words),
        **both_themes("brand", surprise=ground),
    }
    return pack(header, np.array(columns, dtype="<u2"))


def token_strip(
    tokens: Sequence[StripToken],
    *,
    key: str,
    labels: Sequence[str],
    words: Mapping[str, str],
    title: str = "",
    first: int = 1,
    prompt: Sequence[str] = (),
    mark: int | None = None,
    tallest: int | None = None,
    is_even: bool = False,
    ground: str = "surprise",
    row: tuple[str, int] | None = None,
) -> None:
    """Draw the strip.

    Args:
        tokens: The tokens that are coloured, in order.
        key: Key of the element.
        labels: Names of the tokens' `values`.
        words: `label` (for screen readers) and `also` (above the candidates); for a legend also `none` and `much`
            (both ends of the scale) and `hint`.
        title: What is said beside a token in its tooltip; `{number}` in it becomes the token's number.
        first: The number of the first token.
        prompt: Tokens before them, drawn without colour.
        mark: Index of a token that is framed.
        tallest: Maximum height in pixels; a longer text scrolls.
        is_even: Whether it always has that height on wide screens, so that strips side by side are equally tall.
        ground: Name of the background colour in the palette, for `bits` that are no surprise but another measure.
        row: The strips side by side that show a new text in the same moment: a name of what they show, and how many
            they are.
    """
    data = message(
        tokens,
        labels=labels,
        words=words,
        title=title,
        first=first,
        prompt=prompt,
        mark=mark,
        tallest=tallest,
        is_even=is_even,
        ground=ground,
        row=row,
    )
    _component(key=key, data=data)
