"""A text cut into tokens, each with its id, and a slider over the merges that made them.

The browser recolours the text while the slider moves. It needs no tokenizer for that: Python says of each byte by which
merge it was joined to the byte before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component
from minigpt.viz.labels import visible_token

HTML = """
<div class="cut">
  <div class="controls">
    <label><span class="name"></span> <output></output></label>
    <input type="range" min="0" step="1">
    <p class="merge"></p>
  </div>
  <dl class="facts"></dl>
  <div class="text" role="group"></div>
</div>
"""

_component = Component("token_cut", HTML)


def message(
    ids: Sequence[int],
    *,
    labels: Mapping[int, str],
    unknown: Mapping[int, str] | None = None,
    steps: Sequence[int] = (),
    results: Sequence[int] = (),
    merges: Sequence[str] = (),
    facts: Sequence[Sequence[str]],
    start: int = 0,
    moved: str = "",
    words: Mapping[str, str],
) -> dict[str, Any]:
    """Return what is sent to the browser.

    Args:
        ids: The tokens of the text before any merge, in order.
        labels: The text of each id that occurs, now or after a merge.
        unknown: What stands at each place that the tokenizer does not know.
        steps: For each of `ids` the merge that joins it to the one before it; -1 for none.
        results: The id that each merge makes.
        merges: A sentence on each merge, the first one on no merge; without merges there is no slider.
        facts: For each number of merges from 0 on the numbers that are shown; one row without merges.
        start: The number of merges at first.
        moved: Changes when the page itself moves the slider.
        words: `label` (for screen readers), `slider`, and `fact_0`, `fact_1` and so on: what the numbers are.
    """
    return {
        "ids": list(ids),
        "labels": {token_id: visible_token(text) for token_id, text in labels.items()},
        "breaks": [token_id for token_id, text in labels.items() if text.endswith("\n")],
        "unknown": {place: visible_token(text) for place, text in (unknown or {}).items()},
        "steps": list(steps),
        "results": list(results),
        "merges": list(merges),
        "facts": [list(row) for row in facts],
        "start": start,
        "moved": moved,
        "words": dict(words),
        **both_themes("brand", "surprise"),
    }


def token_cut(data: Mapping[str, Any], *, key: str, on_merges: Callable[[], None]) -> None:
    """Draw the text.

    Args:
        data: The `message`.
        key: Key of the element; in `on_merges`, `st.session_state[key].merges` is the number of merges.
        on_merges: Called when the slider has been moved and rests.
    """
    _component(key=key, data=data, on_merges_change=on_merges)
