"""A text in which the spans that also stand in another text are underlined, each with its length.

Pointing at a span, tapping it and the arrow keys show the passage of the other text around it, without a request to the
server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component

HTML = """
<div class="copied">
  <div class="text" tabindex="0" role="group"></div>
  <div class="passage" role="status"><p class="title"></p><p class="around"></p></div>
</div>
"""

_component = Component("copied_text", HTML)


class CopiedSpan(NamedTuple):
    """A span that also stands in the other text."""

    length: int
    """In characters; stands beside the span."""
    title: str
    """A sentence that says where it stands there."""
    before: str
    """The other text before it."""
    inside: str
    """The whole span; the part of it that is underlined may be shorter, where a longer span overlaps it."""
    after: str
    """The other text after it."""


def message(
    pieces: Sequence[tuple[str, int]], spans: Sequence[CopiedSpan], *, prompt: str = "", words: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is sent to the browser; see `copied_text` for the arguments."""
    return {
        "pieces": [list(piece) for piece in pieces],
        "spans": [span._asdict() for span in spans],
        "prompt": prompt,
        "words": dict(words),
        **both_themes("brand"),
    }


def copied_text(
    pieces: Sequence[tuple[str, int]],
    spans: Sequence[CopiedSpan],
    *,
    key: str,
    prompt: str = "",
    words: Mapping[str, str],
) -> None:
    """Draw the text.

    Args:
        pieces: The text in pieces, each with the index of its span, -1 for none.
        spans: The spans.
        key: Key of the element.
        prompt: A text before it, drawn paler.
        words: `label` (for screen readers) and `hint` (below the text while no span is chosen).
    """
    _component(key=key, data=message(pieces, spans, prompt=prompt, words=words))
