"""The core of `minigpt chat`: what each line is answered with, without a terminal and without a model."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.cli.chat.completion import complete
from minigpt.cli.chat.core import COMMANDS, respond
from minigpt.cli.chat.lexing import what_is_open
from minigpt.cli.chat.settings import SETTINGS
from minigpt.cli.chat.state import Chat, Compare, Grid, Leave, Line, Load, Reply, RunFacts, Save, Score, Write, Written
from minigpt.errors import InputError
from minigpt.generation.results import Candidate, GeneratedToken
from minigpt.generation.settings import RULES, GenerationSettings

OWN = GenerationSettings(temperature=0.7, num_runners_up=4)
TOKENS = tuple(GeneratedToken(n, c, c, 0.5, 0.4, 0.25, (Candidate(9, "x", 0.3),), n) for n, c in enumerate("abc"))
LAST = Written("cats", "Once ", "abc", OWN, "length", TOKENS)
CHAT = Chat(RunFacts("cats", 12, 3456, 16, 30, OWN), OWN)
TALKED = replace(CHAT.with_text(LAST), history=("Once ", "/why", "!1"))


def said(reply: Reply) -> str:
    return "\n".join(str(part) if isinstance(part, Line | InputError) else "" for part in reply.output)


def errors(reply: Reply) -> list[str]:
    return [str(part) for part in reply.output if isinstance(part, InputError)]


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("Once upon", Write("Once upon", OWN)),
        (" two  spaces ", Write(" two  spaces ", OWN)),
        ("say /set", Write("say /set", OWN)),
        ('"""/set"""', Write("/set", OWN)),
        ('"""!1"""', Write("!1", OWN)),
        ('"""one\ntwo\n"""', Write("one\ntwo\n", OWN)),
        ('""""""', Write("", OWN)),
        ("/more", Write("Once abc", OWN)),
        ("/again", Write("Once ", replace(OWN, row=1))),
        ("/ppl", Score("Once abc")),
        ("/ppl a cat", Score("a cat")),
        ("/load  'my run' ", Load("my run")),
        ("/compare greedy", Compare("Once ", (OWN, replace(OWN, sampler=None)))),
        ("/quit", Leave()),
        ("/QUIT", Leave()),
        ("!1", Write("Once ", OWN)),
        ("!-3", Write("Once ", OWN)),
        ("   ", None),
        ("/show", None),
    ],
)
def test_a_line_asks_for_what_it_says(line: str, action: object) -> None:
    reply = respond(TALKED, line)
    assert errors(reply) == []
    if isinstance(action, Compare):
        assert isinstance(reply.action, Compare)
        assert [one.resolve().sampler.describe() for one in reply.action.each] == ["temperature 0.7", "greedy"]
    else:
        assert reply.action == action


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_set_shown_and_refused(name: str) -> None:
    assert set(SETTINGS) == {field.name for field in fields(GenerationSettings)}
    good = {"sampler": "min_p=0.1,temperature=2", "top_p": "0.9", "min_p": "0.1", "use_cache": "off", "stop": "'a b'"}
    after = respond(CHAT, f"/set {name.replace('_', '-').upper()} = {good.get(name, '3')}")
    assert errors(after) == []
    assert after.chat.settings != OWN
    assert f"{name} is" in said(respond(after.chat, f"/show {name}"))
    again = respond(after.chat, f"/set {name}=default").chat.settings
    assert again == (replace(OWN, temperature=None) if name == "sampler" else OWN)
    assert respond(after.chat, "/reset").chat.settings == OWN
    if SETTINGS[name].is_optional:
        assert errors(respond(after.chat, f"/set {name}=off")) == []
    bad = ["", "nan", "-1", "1e999", "9" * 5000, "0x10", "abc", '"'] if name != "stop" else ["", '""', '"a']
    for value in bad:
        reply = respond(CHAT, f"/set {name}={value}")
        assert len(errors(reply)) == 1, value
        assert reply.chat.settings == OWN


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_sampler_says_how_it_is_written(rule: str) -> None:
    if rule not in SETTINGS:
        assert f"sampler={rule}=" in errors(respond(CHAT, f"/set {rule}=1"))[0]


def test_sampler_and_single_settings_replace_each_other() -> None:
    rules = respond(CHAT, "/set sampler=top_k=3,temperature=0.5")
    assert rules.chat.settings.temperature is None
    assert "temperature is off now" in said(rules)
    single = respond(rules.chat, "/set top_p=0.9")
    assert single.chat.settings.sampler is None
    assert single.chat.settings.resolve().sampler.describe() == "top-p 0.9"


def test_several_stop_texts_and_escapes() -> None:
    assert respond(CHAT, r"""/set stop="a\nb" stop='c "d"' stop=don't""").chat.settings.stop == (
        "a\nb",
        'c "d"',
        "don't",
    )


@pytest.mark.parametrize(
    "line",
    ["/shw", "/", "/set temprature=1", "/set =1", "/set a b", "/why x", "/why 0", "/history -1", "/probs maybe", "/help nix",
     "/load", "/load ''", "/save", "/save a\0b", "/compare", "/compare " + "|" * 8, "!", "!0", "!9", "!x", "!" + "9" * 30,
     "/show nix", "/set stop='a", "/compare sampler=nix"],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence_and_changes_nothing(line: str) -> None:
    reply = respond(TALKED, line)
    assert len(errors(reply)) == 1
    assert errors(reply)[0].endswith((".", "d", "y"))
    assert replace(reply.chat, history=TALKED.history) == TALKED
    assert reply.action is None


@pytest.mark.parametrize("line", ["/more", "/again", "/why", "/ppl", "/compare greedy", "/save x.txt"])
def test_what_needs_a_text_says_so_before_there_is_one(line: str) -> None:
    assert "Write a prompt first" in errors(respond(CHAT, line))[0]


def test_why_shows_the_last_tokens_with_their_runners_up() -> None:
    (grid, _) = respond(TALKED, "/why 2").output
    assert isinstance(grid, Grid)
    assert grid.rows == (("“b”", "50.0%", "40.0%", "0.250", "“x” 30%"), ("“c”", "50.0%", "40.0%", "0.250", "“x” 30%"))


def test_the_history_grows_is_replayed_and_cleared() -> None:
    chat = respond(respond(CHAT, "one").chat, "one").chat
    assert chat.history == ("one",), "a line that is typed again at once is kept once"
    chat = respond(respond(chat, "/show seed").chat, "!1").chat
    assert chat.history == ("one", "/show seed", "one")
    (grid, _) = respond(chat, "/history 2").output
    assert isinstance(grid, Grid)
    assert [row[1] for row in grid.rows] == ["one", "/history 2"]
    assert respond(chat, "/history clear").chat.history == ()
    assert respond(replace(CHAT, history=("!1",)), "!1").action == Write("!1", OWN), "a replayed line replays nothing"


def test_texts_are_saved_as_text_and_as_json() -> None:
    for name in ("mine.txt", "mine.jsonl"):
        action = respond(TALKED, f"/save {name}").action
        assert isinstance(action, Save)
        assert action.path.name == name
        if name.endswith("l"):
            assert json.loads(action.content)["text"] == "Once abc"
        else:
            assert "Once abc" in action.content


PIECES = st.sampled_from(
    [*(f"/{name}" for name in COMMANDS), *(f"{name}=" for name in SETTINGS), *(f"{rule}=" for rule in RULES), *"|!=,:\"'\\ \n1-0",
     '"""', "nan", "inf", "1e400", "default", "off", "greedy", "\0", "\ud800", "\u202e", "٣", "²", "99999999999999999999"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=8).map(" ".join)))
@example("/set top_k=²")
@example("/set sampler=top_k=²")
@example("/set sampler=bias=1:inf")
@example("/load ~nobody-of-this-name")
@example("/why ²")
@example("!²")
def test_no_line_raises_an_error(line: str) -> None:
    for chat in (CHAT, TALKED):
        reply = respond(chat, line)
        assert all(str(part) for part in reply.output)
    what_is_open(line)
    complete(line, lambda: [("tales", "bundled")])


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("/", {"/set ", "/quit"}),
        ("/set te", {"temperature="}),
        ("/set top_k=3 mi", {"min_p="}),
        ("/set sampler=", {"greedy", "dry="}),
        ("/set sampler=top_k=3,te", {"temperature="}),
        ("/set use_cache=o", {"on", "off"}),
        ("/compare greedy|te", {"temperature="}),
        ("/load ta", {"tales"}),
        ("/help pp", {"ppl"}),
        ("/probs ", {"on", "off"}),
    ],
)
def test_completions(before: str, expected: set[str]) -> None:
    found = complete(before, lambda: [("tales", "bundled"), ("repeat", "bundled")])
    assert expected <= {completion.text for completion in found}
    for completion in found:  # each begins with what it replaces
        assert completion.text.startswith(before[len(before) - completion.length :])


@pytest.mark.parametrize("before", ["Once /s", "say ta", "/ppl te", "/set nix=", "/set seed=3", "!", ""])
def test_nothing_to_complete(before: str) -> None:
    assert complete(before, lambda: pytest.fail("no run is wanted")) == []
