"""The text catalogue: every text that the code uses exists, and every text is used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from minigpt import resources
from minigpt.app import texts

ROOT = resources.root()
PAGES = sorted(path.stem for path in resources.asset_path("texts", texts.LANGUAGE).glob("*.yaml"))
SOURCES = sorted([*ROOT.glob("pages/*/*.py"), *ROOT.glob("minigpt/app/**/*.py")])
ALWAYS = {"title", "lead"}
"""`anatomy.header` builds these keys from the page's name."""


def asked(path: Path) -> tuple[set[str], set[str]]:
    """Return the keys that a file uses, and the beginnings of keys that it builds (`f"train.preset_{name}"`)."""
    keys, beginnings = set(), set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(rf"({'|'.join(PAGES)})\.[a-z0-9_]+", node.value):
                keys.add(node.value)
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            beginnings |= set(re.findall(rf"^(?:{'|'.join(PAGES)})\..*", str(node.values[0].value)))
    return keys, beginnings


def called(path: Path) -> set[str]:
    """Return the keys that a file passes to `t` and `template` as literals."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and {getattr(node.func, "id", None), getattr(node.func, "attr", None)} & {"t", "template"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_that_is_asked_for_exists(path):
    missing = {key for key in called(path) if not texts.has(key)}
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_text_is_asked_for(page):
    keys: set[str] = set()
    beginnings: set[str] = set()
    for path in SOURCES:
        more_keys, more_beginnings = asked(path)
        keys |= more_keys
        beginnings |= more_beginnings
    unused = {
        name
        for name in texts.catalogue(page)
        if name not in ALWAYS
        and f"{page}.{name}" not in keys
        and not any(f"{page}.{name}".startswith(beginning) for beginning in beginnings)
    }
    assert not unused


@pytest.mark.parametrize("page", PAGES)
def test_no_text_shouts_and_every_placeholder_has_a_name(page):
    for name, text in texts.catalogue(page).items():
        assert text, name
        assert "!" not in text, name
        assert not re.search(r"\{\s*\}", text), name


def test_an_unknown_text_is_an_error():
    with pytest.raises(KeyError):
        texts.t("frame.there_is_no_such_text")


@pytest.mark.parametrize("text", ["# no heading", "*a*", "$x$", ":red[a]", "![i](http://x)", "<b>", "a\n\n- b", "`c`"])
def test_a_users_text_cannot_become_markdown(text):
    escaped = texts.escape(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)[*`#<>$\[\]_!:]", escaped)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())


NOUNS = (
    "tokens|characters|positions|blocks|heads|windows|parts|passages|scores|steps|moments|layers|runs|files|trainings"
)
NEVER_ONE = {"d_model", "vocab_size", "width", "d_head", "d_ff", "shown", "total", "steps", "left", "piece"}
"""Numbers that are never 1."""
COUNT_IS_MANY = {"forward.see_numbers", "corpus.split_hover"}
"""Texts with a text of their own for a count of 1, or a label that an axis fills."""


@pytest.mark.parametrize("page", PAGES)
def test_a_noun_after_a_number_has_a_singular(page):
    for name, text in texts.catalogue(page).items():
        if f"{page}.{name}" in COUNT_IS_MANY:
            continue
        found = re.findall(rf"(?<!\{{)\{{(\w+)\}} (?:{NOUNS})\b", text)
        assert set(found) <= NEVER_ONE, (name, text)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 heads"), (1, "1 head"), ("1", "1 head"), (2, "2 heads"), (1.5, "1.5 heads")]
)
def test_a_word_is_chosen_by_its_number(count, said, monkeypatch):
    monkeypatch.setattr(texts, "template", lambda _: "{count} {count:head|heads}")
    assert texts.t("any.text", count=count) == said
