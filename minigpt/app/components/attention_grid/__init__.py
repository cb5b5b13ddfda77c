"""All heads at a glance: layers by heads on one canvas, drawn in the browser from one message of bytes.

Plotly heat maps of 16 to 144 heads would take megabytes; here a weight takes one byte. The browser
handles hovering itself; opening a head sends a trigger to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from minigpt.app.components.messages import both_themes, pack
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="grid">
  <canvas aria-hidden="true"></canvas>
  <div class="heads"></div>
  <div class="cursor"></div>
  <div class="tip" role="status"></div>
</div>
<p class="hint"></p>
"""

_COLOURS = ("attention", "query", "text", "border", "secondary", "blocked", "sequential")

_component = Component("attention_grid", HTML)


def to_bytes(weights: np.ndarray) -> np.ndarray:
    """Return weights between 0 and 1 as uint8, 255 for 1; the rounding error is at most 1/510."""
    return (weights.clip(0, 1) * 255).round().astype(np.uint8)


def message(
    weights: np.ndarray,
    tokens: Sequence[str],
    *,
    captions: Sequence[Sequence[str]],
    descriptions: Sequence[Sequence[str]],
    selected: tuple[int, int],
    words: Mapping[str, str],
    compact: bool,
    causal: bool = True,
    full: np.ndarray | None = None,
) -> bytes:
    """Return what is sent to the browser.

    Args:
        weights: uint8, (L, H, T, T).
        tokens: The text of each of the T tokens.
        captions: (L, H) texts of one or two words, shown under each map where there is room.
        descriptions: (L, H) sentences for screen readers and for the keyboard's focus.
        selected: The head that is open, (layer, head).
        words: `layer`, `head`, `blocked`, `hint`.
        compact: The last value of `st.session_state[key].compact`.
        causal: Whether the model has a causal mask; the weights that it forbids are hatched.
        full: (L, H), the weight from which on a head's colour is the strongest; None: 1 for every head.
    """
    layers, heads, length, _ = weights.shape
    header = {
        "layers": layers,
        "heads": heads,
        "length": length,
        "tokens": [visible_token(token) for token in tokens],
        "captions": captions,
        "descriptions": descriptions,
        "selected": selected,
        "words": dict(words),
        "compact": compact,
        "causal": causal,
        "full": (np.ones((layers, heads)) if full is None else full).tolist(),
        **both_themes(*_COLOURS),
    }
    return pack(header, weights)


def attention_grid(data: bytes, *, key: str, on_open: Callable[[], None], on_compact: Callable[[], None]) -> None:
    """Draw the grid.

    Args:
        data: The `message`.
        key: Key of the element; `st.session_state[key].opened` holds layer, head and query (or None) in `on_open`.
        on_open: Called when a head is clicked, tapped or entered.
        on_compact: Called when the grid becomes as narrow as on a phone, or wider again;
            `st.session_state[key].compact` says which.
    """
    _component(key=key, data=data, on_opened_change=on_open, on_compact_change=on_compact)
