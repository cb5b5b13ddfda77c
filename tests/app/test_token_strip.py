"""The message of the token strip to the browser."""

from __future__ import annotations

import json
import re
import struct

import numpy as np

from minigpt.app.components import scripts
from minigpt.app.components.token_strip import HTML, NONE, StripToken, message


def token(text, **fields):
    return StripToken(text=text, bits=1.234, values=("1.23", "5 %"), **fields)


def received(sent):
    """Take a message apart as the script does: the header, and the columns of numbers."""
    (size,) = struct.unpack_from("<I", sent)
    header = json.loads(sent[4 : 4 + size])
    numbers = np.frombuffer(sent[4 + size :], "<u2")
    return header, numbers.reshape(-1, header["count"]) if header["count"] else numbers


def test_a_message_holds_each_text_once_and_columns_of_places():
    tokens = [token("a", top=(("x", 0.5), (" ", 0.25))), token("\n", top=(("x", 0.75),), is_unknown=True), token(" ")]
    sent, columns = received(
        message(
            tokens, labels=["bits", "chance"], words={"label": "l"}, title="· {number}", first=7, prompt="p\n", mark=1
        )
    )
    assert sent["texts"] == ["a", "⏎", "␣", "x", "p"]
    assert (sent["breaks"], sent["blanks"], sent["unknown"], sent["mark"]) == ([1], [1, 2], [1], 1)
    assert (sent["prompt"], sent["title"], sent["first"]) == ([4, 1], "· {number}", 7)
    assert sent["values"] == [["1.23"], ["5 %"]]
    texts, bits, chance, rank, first, first_share, second, second_share = columns.tolist()
    assert (texts, bits, chance, rank) == ([0, 1, 2], [123] * 3, [0] * 3, [0] * 3)
    assert (first, first_share) == ([3, 3, NONE], [5000, 7500, 0])
    assert (second, second_share) == ([2, NONE, NONE], [2500, 0, 0])


def test_the_message_of_a_long_text_is_small():
    tokens = [token(letter, top=(("x", 0.5), ("y", 0.25))) for letter in "abcdefgh" * 500]
    assert len(message(tokens, labels=["a", "b"], words={})) < 20 * len(tokens)


def test_a_strip_may_be_empty_and_a_surprise_huge():
    header, columns = received(message([], labels=["a"], words={}))
    assert (header["count"], columns.size) == (0, 0)
    _, columns = received(message([token("a")._replace(bits=1e9)], labels=["a", "b"], words={}))
    assert columns[1].tolist() == [NONE]


def test_half_of_a_surrogate_pair_can_be_sent():
    assert received(message([token("\ud800")], labels=["a", "b"], words={}))[0]["count"] == 1


def test_no_text_reaches_the_page_as_markup():
    script = (scripts.FOLDER / "token_strip" / "script.js").read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert "{" not in HTML
