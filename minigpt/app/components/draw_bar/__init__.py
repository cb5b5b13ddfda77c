"""A cumulative bar of chances and a draw: the visitor picks the token on which the draw falls.

A click or tap on the bar, or one of the buttons below it, is a pick. The browser tells the server, which answers with
the right token; until then the bar says neither where the draw is nor where a token begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component
from minigpt.viz.distribution import TokenChance
from minigpt.viz.labels import visible_token

HTML = """
<div class="draw">
  <p class="question"><span class="name"></span> <strong class="value"></strong></p>
  <div class="track">
    <div class="bar"></div>
    <div class="scale" aria-hidden="true"></div>
    <div class="pin" aria-hidden="true"></div>
  </div>
  <div class="tokens" role="group"></div>
  <p class="hint"></p>
</div>
"""

_component = Component("draw_bar", HTML)


def message(
    chances: Sequence[TokenChance],
    shares: Sequence[str],
    *,
    turn: str,
    u: float,
    right: int | None,
    picked: int | None,
    words: Mapping[str, str],
) -> dict[str, Any]:
    """Return what is sent to the browser.

    Args:
        chances: The tokens from left to right, which fill the bar from 0 to 1.
        shares: The chance of each in words.
        turn: Name of this draw; a pick comes back with it.
        u: The draw, in [0, 1).
        right: Index of the token on which it falls; None until the visitor has picked.
        picked: Index of the token that the visitor has picked; None until then.
        words: `draw`, `label` (of the buttons, for screen readers), `hint`, `right` and `wrong` (beside a token).
    """
    return {
        "turn": turn,
        "u": u,
        "value": f"{u:.2f}",
        "tokens": [
            {"label": visible_token(chance.text), "share": share, "low": chance.low, "size": chance.after}
            for chance, share in zip(chances, shares, strict=True)
        ],
        "right": right,
        "picked": picked,
        "words": dict(words),
        **both_themes("brand", "surprise", "sequential", "text", "background"),
    }


def draw_bar(data: Mapping[str, Any], *, key: str, on_pick: Callable[[], None]) -> None:
    """Draw the bar.

    Args:
        data: The `message`.
        key: Key of the element; in `on_pick`, `picked_token(st.session_state[key].pick, ...)` is the pick.
        on_pick: Called when the visitor has picked a token.
    """
    _component(key=key, data=data, on_pick_change=on_pick)


def picked_token(pick: object, turn: str, count: int) -> int | None:
    """Return which token a pick means, None if it belongs to another draw or is no pick at all.

    Args:
        pick: What the browser has sent; it may be anything.
        turn: Name of the draw on the page.
        count: Number of tokens on the bar.

    >>> picked_token({"turn": "a", "token": 2}, "a", 3), picked_token({"turn": "b", "token": 2}, "a", 3)
    (2, None)
    """
    if not isinstance(pick, Mapping) or pick.get("turn") != turn:
        return None
    token = pick.get("token")
    return token if type(token) is int and 0 <= token < count else None
