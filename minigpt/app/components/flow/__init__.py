"""The way from a text to its next character: an animation of a recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from minigpt.app.components.messages import both_themes
from minigpt.app.components.registry import Component

_LINE = "".join(f'<span class="{name}"></span>' for name in ("given", "written", "fresh", "caret"))  # no gaps between
HTML = f"""
<div class="flow" role="group">
  <div class="frame">
    <div class="top">
      <div class="line">{_LINE}</div>
      <div class="controls">
        <button type="button" class="play"></button>
        <button type="button" class="next-step"></button>
      </div>
    </div>
    <div class="stage">
      <svg aria-hidden="true"></svg>
      <div class="left">
        <div class="heading left-heading"><span class="column-text"></span><span class="column-numbers"></span></div>
        <div class="tokens"></div>
      </div>
      <div class="layers"></div>
      <div class="next"><div class="heading column-next"></div><div class="bars"></div></div>
    </div>
    <p class="said"></p>
  </div>
</div>
"""

COLOURS = (
    "attention", "training", "query", "reference", "background", "secondary", "blocked", "sequential", "diverging"
)  # fmt: skip

_component = Component("flow", HTML)


def flow(recording: Mapping[str, Any], *, words: Mapping[str, str], key: str) -> None:
    """Draw the flow.

    Args:
        recording: `minigpt.interpret.flow.Flow.to_dict()`, read from JSON.
        words: `alt`, headings `text`, `numbers`, `layer`, `next`, buttons `play`, `pause`, `step`, and the sentences
            `say_read`, `say_layer`, `say_odds`, `say_fallen` for the first character, `say_again` and `say_next` for
            the others, with the placeholders `{draw}`, `{token}` and `{share}`.
        key: Key of the element.
    """
    message = {"flow": dict(recording), "words": dict(words), **both_themes(*COLOURS)}
    # As one text: Streamlit imports pandas to see whether a list or dictionary is a table, and Home would wait for it.
    _component(key=key, data={"message": json.dumps(message)})
