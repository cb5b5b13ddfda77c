"""One head as lines between tokens: above the text where a token looks, below it which tokens look at it.

A weight takes two bytes: with one byte, a percentage here could differ from the one in the page's sentences.
Pointing, tapping and the arrow keys move the focus in the browser; only a press or Enter tells the server, so that the
other views show the same row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from minigpt.app.components.messages import both_themes, pack
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="lines">
  <div class="scroll">
    <div class="sheet">
      <svg aria-hidden="true"></svg>
      <div class="tokens" tabindex="0" role="group"></div>
    </div>
  </div>
  <div class="said" role="status"></div>
  <p class="hint"></p>
</div>
"""

_component = Component("attention_lines", HTML)


def message(weights: np.ndarray, tokens: Sequence[str], *, query: int, words: Mapping[str, str]) -> bytes:
    """Return what is sent to the browser.

    Args:
        weights: From 0 to 1, (T, T).
        tokens: The text of each of the T tokens.
        query: The token that has the focus while the mouse is over no token.
        words: `label` for screen readers, `looks`, `looked`, `nobody` and `hint`.
    """
    header = {
        "tokens": [visible_token(token) for token in tokens],
        "query": query,
        "words": dict(words),
        **both_themes("attention", "query"),
    }
    return pack(header, np.rint(65535 * np.clip(weights, 0, 1)).astype("<u2"))


def attention_lines(data: bytes, *, key: str, on_focus: Callable[[], None]) -> None:
    """Draw the lines of one head.

    Args:
        data: The `message`.
        key: Key of the element; `st.session_state[key].focused` holds the token's index in `on_focus`.
        on_focus: Called when a token is pressed or entered.
    """
    _component(key=key, data=data, on_focused_change=on_focus)
