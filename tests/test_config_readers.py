"""Settings files are read by libyaml where it is there, and by PyYAML's own parser: both give the same values."""

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigpt.config import reading
from minigpt.resources import root

PIECES = [
    "a: 1\n", "model:\n", "  d: 2\n", "- x\n", "[", "]", "{", "}", ",", ": ", "\n", " ", '"q"', "'s'", "#c\n", "|", ">\n",
    "\t", "&a ", "*a", "!!int 3", "0x1f", "1e5", "no", "~", "null", ".inf", "?", "---\n", "...\n", "%", "é", "\u2028",
    "\x85", "\r\n", "<<: ", "!t ", "2024-01-01", "12:30", "0100", "\x00", '"\\u0041"', "\\", "- - 1\n", "k: {a: b}\n",
]  # fmt: skip
needs_libyaml = pytest.mark.skipif(len(reading._LOADERS) < 2, reason="this PyYAML was built without libyaml")


def outcome(loader, text):
    """Return what a loader makes of a text: its value as written by Python, or why it is no settings file."""
    try:
        return "value", repr(loader(text).get_single_data())
    except reading._Refused as error:
        return "refused", str(error)
    except (yaml.YAMLError, ValueError, RecursionError):
        return "no YAML", ""


@needs_libyaml
@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("training:\n  max_steps: 010\n  max_steps: 20\n")
@example("a: &b [1]\nc: *b\n")
@example("[" * 9)
@example(f"seed: {'9' * 65}\n")
def test_both_readers_read_the_same(text):
    """What both can read has one value, and what one refuses for its anchors, depth or length, the other never reads."""
    fast, slow = (outcome(loader, text) for loader in reading._LOADERS)
    if "no YAML" not in (fast[0], slow[0]):
        assert fast == slow
    assert {fast[0], slow[0]} != {"value", "refused"}


@needs_libyaml
@pytest.mark.parametrize("path", sorted((root() / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_both_readers_read_the_shipped_settings(path):
    """The presets and profiles, with all their comments."""
    fast, slow = (outcome(loader, path.read_text("utf-8")) for loader in reading._LOADERS)
    assert fast[0] == "value"
    assert fast == slow
