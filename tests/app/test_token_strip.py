"""The message of the token strip to the browser."""

from __future__ import annotations

import json
import re

from minigpt.app.components import scripts
from minigpt.app.components.token_strip import HTML, StripToken, message


def token(text, **fields):
    return StripToken(text=text, bits=1.234, title="· 1", values=("1.23", "5 %"), **fields)


def test_a_message_holds_columns_and_each_candidate_once():
    tokens = [token("a", top=(("x", 0.5), (" ", 0.25))), token("\n", top=(("x", 0.75),), is_unknown=True), token(" ")]
    sent = message(tokens, labels=["bits", "chance"], words={"label": "l"}, prompt="p\n", mark=1, tallest=99)
    assert sent["texts"] == ["a", "⏎", "␣"]
    assert sent["prompt"] == [("p", False), ("⏎", True)]
    assert (sent["breaks"], sent["blanks"], sent["unknown"], sent["mark"]) == ([1], [0, 1, 1], [1], 1)
    assert sent["values"] == [["1.23"] * 3, ["5 %"] * 3]
    assert sent["vocabulary"] == ["x", "␣"]
    assert sent["tops"] == [[(0, 0.5), (1, 0.25)], [(0, 0.75)], []]
    assert sent["bits"] == [1.23] * 3
    json.dumps(sent, allow_nan=False).encode("utf-8")


def test_half_of_a_surrogate_pair_can_be_sent():
    json.dumps(message([token("\ud800")], labels=["a", "b"], words={}), ensure_ascii=False).encode("utf-8")


def test_no_text_reaches_the_page_as_markup():
    script = (scripts.FOLDER / "token_strip" / "script.js").read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert "{" not in HTML
