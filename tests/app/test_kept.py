"""What a visitor brings is there in a new session of the same browser, and only there; hostile files break no page.

A new `pages.open()` is a new session, as after a reload, in a new tab or after a restart of the server.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from minigpt.app.sampling.side_rules import RANGES, RULES
from minigpt.app.session import kept, profile
from minigpt.app.texts import t
from minigpt.app.ui.navigation import PAGES
from minigpt.errors import StorageError
from minigpt.runs.visitors import VisitorStore
from tests.app.conftest import BROWSER, TEXT

READERS = ("inside/attention", "inside/forward", "inside/circuits", "use/sampling")
"""The pages that read a prompt."""
PERSONAL = tuple(entry.file.removesuffix(".py") for entry in PAGES if entry.name != "home")


def prompt_of(at, page, run_id):
    """The field of the prompt on a page."""
    return at.text_input(key=f"{page.partition('/')[2]}:prompt_{run_id}")


def be_another(monkeypatch, key="the-key-of-another-browser"):
    monkeypatch.setattr(kept, "browser_key", lambda offered, **arguments: key)


def with_profile(monkeypatch, name):
    monkeypatch.setenv("MINIGPT_PROFILE", name)
    profile.limits.cache_clear()


def paste(pages, text, *, use=True):
    at = pages.open("build/corpus")
    at.segmented_control(key="corpus:source").set_value("paste").run()
    at.text_area(key="corpus:pasted").set_value(text).run()
    if use:
        at.button(key="corpus:paste_use").click().run()
    return at


def test_a_corpus_is_there_again_for_the_next_run_with_how_it_was_read(pages):
    paste(pages, TEXT + "caf\u0065\u0301\r\n")
    at = pages.open("build/corpus")
    assert "pasted text" in pages.words(at)
    assert at.dataframe[0].value.iloc[0, 0] == "pasted text"
    at.switch_page("pages/build/train.py").run()
    assert "pasted text" in next(item.value for item in at.markdown if "parameters" in item.value)  # the cost of a run


def test_a_built_in_corpus_is_kept_by_its_name(pages, own_home):
    at = pages.open("build/corpus")
    at.button(key="corpus:use_repeat").click().run()
    assert json.loads(next(own_home.glob(".visitors/*/corpus.json")).read_text("utf-8"))["value"] == {
        "built_in": "repeat"
    }
    assert pages.open("build/corpus").button(key="corpus:use_repeat").label == "In use"
    at.button(key="corpus:use_tales").click().run()
    assert not list(own_home.glob(".visitors/*/corpus.json"))


def test_a_pasted_text_that_is_not_used_yet_is_there_again(pages):
    paste(pages, "only begun", use=False)
    at = pages.open("build/corpus")
    at.segmented_control(key="corpus:source").set_value("paste").run()
    assert at.text_area(key="corpus:pasted").value == "only begun"


def test_preset_and_settings_are_there_again_even_wrong_ones(pages):
    at = pages.open("build/train")
    at.selectbox(key="train:preset").set_value("small").run()
    at.toggle(key="train:expert").set_value(True).run()
    at.text_input(key="train:small:training.max_steps").set_value("77").run()
    at.text_input(key="train:small:model.num_layers").set_value("two").run()
    at.selectbox(key="train:small:training.optimizer").set_value("sgd").run()
    assert at.button(key="train:start").disabled
    at = pages.open("build/train")
    assert at.selectbox(key="train:preset").value == "small"
    assert at.text_input(key="train:small:training.max_steps").value == "77"
    assert at.button(key="train:start").disabled
    at.toggle(key="train:expert").set_value(True).run()
    assert at.text_input(key="train:small:model.num_layers").value == "two"
    assert at.selectbox(key="train:small:training.optimizer").value == "sgd"


@pytest.mark.parametrize("first", READERS)
def test_one_prompt_is_shared_by_all_pages_stays_when_the_run_changes_and_is_marked(pages, first):
    run_id = pages.trained("cats")
    at = pages.open(first, run=run_id)
    opening = prompt_of(at, first, run_id).value
    prompt_of(at, first, run_id).set_value("the cät").run()
    for page in READERS[::-1]:
        at.switch_page(f"pages/{page}.py").run()
        assert prompt_of(at, page, run_id).value == "the cät"
        assert "ä" in "".join(note.value for note in at.info), page
    at.sidebar.selectbox[0].set_value("tales").run()
    assert prompt_of(at, READERS[0], "tales").value == "the cät"
    assert "ä" in "".join(note.value for note in at.info)
    at = pages.open(first, run=run_id)  # a new session
    assert prompt_of(at, first, run_id).value == "the cät"
    prompt_of(at, first, run_id).set_value("").run()
    assert prompt_of(at, first, run_id).value == ""  # the page may be tried without a text
    assert prompt_of(pages.open(first, run=run_id), first, run_id).value == opening


def test_a_scored_text_is_there_again_until_an_offered_one_is_taken(pages):
    run_id = pages.trained("cats")
    key = f"perplexity:text_{run_id}"
    at = pages.open("use/perplexity", run=run_id)
    opening = at.text_area(key=key).value
    at.text_area(key=key).set_value("the dog sat").run()
    at = pages.open("use/perplexity")
    assert at.text_area(key=key).value == "the dog sat"
    at.button(key="perplexity:another").click().run()
    assert at.text_area(key=key).value == opening
    assert pages.open("use/perplexity").text_area(key=key).value == opening


def upload(at, name, content):
    at.segmented_control(key="perplexity:source").set_value("upload").run()
    at.file_uploader[0].upload(name, content, "text/plain").run()


def test_a_file_to_score_is_there_again_until_it_is_removed(pages):
    run_id = pages.trained("cats")
    at = pages.open("use/perplexity", run=run_id)
    upload(at, "mine.txt", b"the cat sat on a dog")
    assert "mine\\.txt, 20 characters" in pages.words(at)
    scores = [metric.value for metric in at.metric]
    at = pages.open("use/perplexity")
    assert "mine\\.txt, 20 characters" in pages.words(at)
    assert [metric.value for metric in at.metric] == scores
    upload(at, "bad.txt", b"\0\1\2" * 50)
    assert len(at.error) == 1
    assert [metric.value for metric in at.metric] == scores
    at.file_uploader[0].set_value(None).run()  # the refused one is taken out
    assert "mine\\.txt, 20 characters" in pages.words(at)
    upload(at, "other.txt", b"on the mat")
    assert "other\\.txt, 10 characters" in pages.words(at)
    assert at.file_uploader[0].value is None
    at.button(key="perplexity:remove").click().run()
    for page in (at, pages.open("use/perplexity")):
        assert t("perplexity.waiting") in pages.words(page)


def controls_of_sampling(at):
    """All controls of Sampling but the prompt, by key."""
    kinds = (at.text_input, at.select_slider, at.selectbox, at.slider)
    found = {widget.key: widget for kind in kinds for widget in kind if str(widget.key).startswith("sampling:")}
    other = ("prompt", "position", "preset", "columns")
    return {key: widget for key, widget in found.items() if not any(word in key for word in other)}


def choose_rules(at, kind):
    """Choose a rule in all four columns."""
    for number in range(4):
        at.selectbox(key=f"sampling:rule_{number}").set_value(kind)
    at.run()


def test_rules_and_their_settings_seed_and_length_are_there_again_also_of_a_rule_that_is_not_shown(pages):
    run_id, choices = pages.trained("cats"), random.Random(4)
    at = pages.open("use/sampling", run=run_id)
    at.select_slider(key="sampling:length").set_value(40)
    given: dict[str, object] = {"sampling:warmth": 0.7, "sampling:length": 40, "sampling:seed": "77"}
    for kind in RULES[1:]:
        choose_rules(at, kind)
        for number in range(4):
            key, span = f"sampling:{kind}_{number}", RANGES[kind]
            given[key] = span.low + span.step * choices.randint(1, 19)
            at.slider(key=key).set_value(given[key])
        at.run()
    at.slider(key="sampling:warmth").set_value(0.7)
    for seed in ("12,5", "77"):
        at.text_input(key="sampling:seed").set_value(seed).run()
        assert pages.open("use/sampling").text_input(key="sampling:seed").value == seed
    at = pages.open("use/sampling")
    for kind in RULES[:0:-1]:
        given |= {f"sampling:rule_{number}": kind for number in range(4)}
        shown = {key: widget.value for key, widget in controls_of_sampling(at).items()}
        assert len(shown) == 11
        assert shown == {key: given[key] for key in shown}
        choose_rules(at, RULES[RULES.index(kind) - 1])


def test_a_new_tab_shows_the_current_run_an_address_wins_and_a_run_in_training_is_offered(pages):
    first, second = pages.trained("first"), pages.submit("second", training__max_steps=100_000)
    pages.open("build/train", run=second)
    at = pages.open("build/train")
    assert pages.run_of(at) == second
    assert at.button(key="train:stop")
    assert pages.run_of(pages.open("build/train", run=first)) == first
    at = pages.open("inside/attention")
    assert pages.run_of(at) == first
    offer = at.sidebar.button(key="frame:in_training")
    assert "second" in offer.label
    offer.click().run()
    assert pages.run_of(at) == second
    assert [button.key for button in at.sidebar.button if button.key == "frame:in_training"] == []


def test_another_browser_sees_nothing_of_it(pages, monkeypatch):
    run_id = pages.trained("cats")
    paste(pages, TEXT)
    prompt_of(pages.open("use/sampling", run=run_id), "use/sampling", run_id).set_value("secret").run()
    be_another(monkeypatch)
    assert pages.run_of(pages.open("build/train")) is None
    assert "tales" in pages.open("build/corpus").success[0].value
    at = pages.open("use/sampling", run=run_id)
    assert prompt_of(at, "use/sampling", run_id).value != "secret"


@pytest.mark.parametrize("page", PERSONAL)
def test_until_the_browser_has_answered_a_page_shows_its_heading_and_offers_nothing(pages, monkeypatch, page):
    be_another(monkeypatch, None)
    at = pages.open(page)
    assert [title.value for title in at.title] == [t(f"{page.partition('/')[2]}.title")]
    assert [len(kind) for kind in (at.button, at.selectbox, at.text_input, at.number_input)] == [0, 0, 0, 0]
    monkeypatch.undo()


def test_home_is_drawn_at_once(pages, monkeypatch):
    be_another(monkeypatch, None)
    assert pages.open().button(key="home:start")


def test_who_only_looks_around_leaves_nothing(pages, own_home):
    for entry in PAGES:
        pages.open(entry.file.removesuffix(".py"))
    assert not (own_home / ".visitors").exists()


def test_nothing_is_written_when_nothing_has_changed(pages, monkeypatch):
    paste(pages, TEXT)
    written = []
    monkeypatch.setattr(VisitorStore, "write", lambda store, key, field, value: written.append(field) or True)
    at = pages.open("build/train")
    at.toggle(key="train:expert").set_value(True).run()
    at.run()
    assert written == []
    at.text_input(key="train:nano:training.max_steps").set_value("77").run()
    at.run()
    assert written == ["settings"]


def test_a_full_disk_is_told_and_the_page_goes_on(pages, monkeypatch):
    def refuse(*arguments: object) -> bool:
        raise StorageError("The disk is full.", mend="Free some space.")

    monkeypatch.setattr(VisitorStore, "write", refuse)
    at = paste(pages, TEXT)
    assert [warning.value for warning in at.sidebar.warning] == [t("frame.kept_not")]
    assert "pasted text" in pages.words(at)


HOSTILE: dict[str, list[Any]] = {
    "mends": [
        "lines",
        [None, 7, [], {}],
        [{"mend": "no such", "changes": {}, "before": {}, "counts": {}}],
        [{"mend": "rare", "changes": {"seed": 1}, "before": {}, "counts": {"characters": ["a", None]}}],
        [{"mend": "", "changes": {"model.sequence_length": {"a": [1]}}, "before": {}, "counts": {}}],
        [{"mend": "", "changes": {"no.field": 1}, "before": {"seed": "x"}, "counts": {}}],
        [{"mend": "lines", "changes": {}, "before": {}, "counts": {"characters": [10**30, -5]}}] * 99,
    ],
    "settings": [
        3,
        {"preset": "no-such-preset", "changes": {}},
        {"preset": ["nano"]},
        {"preset": "nano", "changes": [1]},
        {"preset": "nano", "changes": {"training.max_steps": "many", "model.num_layers": [2], "seed": 2**70}},
        {"preset": "nano", "changes": {"training.learning_rate": 1e999, "training.optimizer": "evil", "nothing": 1}},
        {"preset": "nano", "changes": {"device": "../../x", "training.sample_prompt": "\ud800", "preset": "x"}},
        {"preset": "nano", "changes": {"training.weight_decay": -1, "training.max_steps": -5, "model.d_model": 7}},
    ],
    "corpus": [
        "text",
        {"built_in": "no-such-corpus"},
        {"built_in": ["tales"]},
        {"built_in": "../../etc/passwd"},
        {"name": "x", "origin": "y", "documents": [], "readings": []},
        {"name": "x", "origin": "y", "documents": ["aaaa"], "readings": []},
        {"name": "x", "origin": "y", "documents": [7], "readings": []},
        {"name": "x", "origin": "y", "documents": ["ab" * 100], "readings": [{"name": "x"}]},
        {"name": "\ud800<b>", "origin": "\0", "documents": ["ab\ud800\0cd" * 300], "readings": []},
        {
            "name": "x",
            "origin": "y",
            "documents": ["ab" * 900],
            "readings": [
                {
                    "name": "x",
                    "encoding": "y",
                    "num_bytes": 10**400,
                    "num_chars": 1,
                    "num_cleaned_chars": 1,
                    "is_changed": 0,
                }
            ],
        },
    ],
    "prompt": [7, ["the cat"], "\ud800", "x" * 60_000, "**b** <b>\u202e", "\0"],
    "passage": [{}, "\ud800 the", "\0", True],
    "clean": [3, "\ud800"],
    "scored_file": [
        7,
        {"name": 3, "text": "the"},
        {"name": "x", "text": 4},
        {"name": "**b**\u202e", "text": "\0<b>"},
        {},
    ],
    "perplexity": [[], {"perplexity:source": "elsewhere"}, {"perplexity:source": ["write"]}],
    "sampling": [
        "greedy",
        {"sampling:seed": 9, "sampling:length": 41, "sampling:warmth": "1"},
        {"sampling:seed": "**x**\u202e" + "9" * 5000, "sampling:length": True},
        {"sampling:warmth": 1e999, "sampling:rule_0": "evil", "sampling:rule_1": None, "nothing": 1},
        {"sampling:warmth": -1.0, "sampling:temperature_1": 2.5, "sampling:top_k_2": 3.5, "sampling:top_p_3": [1.0]},
        {"sampling:rule_3": "min_p", "sampling:min_p_3": 0.333, "sampling:top_k_2": 10**400},
        {"sampling:columns": 7, "sampling:seeds": "yes", "sampling:rule_0": "pipeline", "sampling:pipeline_0": 7},
        {"sampling:columns": 6, "sampling:rule_5": "pipeline", "sampling:pipeline_5": "top_k=nan,\u202e**x**=1"},
        {"sampling:rule_0": "pipeline", "sampling:pipeline_0": "top_k=-5,temperature=999999,ban=999999,bias=3"},
        {"sampling:rule_1": "pipeline", "sampling:pipeline_1": "ban,dry=3,mirostat=0.01:7:7," + "top_k=1," * 99},
    ],
    "branches": [
        {
            "sampling:branch_length": 25,
            "sampling:branch_is_search": True,
            "sampling:branch_beams": 10**400,
            "sampling:branch_penalty": 1e999,
        },
    ],
    "cache": [{"sampling:cache_length": 10**9}],
    "pasted": [1.5, "\ud800"],
    "home": [7, "\ud800", "x" * 60_000],
    "run": [5, "../../etc/passwd", "\ud800", "m4hq2k3x7t5b6n2v4c7z3a5d2e", ""],
}


SHOWN_ON = {
    "mends": ("build/corpus",),
    "settings": ("build/corpus", "build/train"),
    "corpus": ("build/corpus", "build/train"),
    "prompt": ("inside/forward", "use/sampling"),
    "passage": ("use/perplexity",),
    "clean": ("inside/circuits",),
    "scored_file": ("use/perplexity",),
    "perplexity": ("use/perplexity",),
    "sampling": ("use/sampling",),
    "branches": ("use/sampling",),
    "cache": ("use/sampling",),
    "pasted": ("build/corpus",),
    "home": ("start/home",),
    "run": ("class/runs",),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in HOSTILE.items() for value in values],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_a_hostile_file_breaks_no_page(pages, own_home: Path, field, value):
    store = VisitorStore(profile.limits(), own_home)
    store.write(BROWSER, field, 0)
    file = next(own_home.glob(f".visitors/*/{field}.json"))
    file.write_text(json.dumps({"version": 1, "value": value}), "utf-8")
    for page in SHOWN_ON[field]:
        at = pages.open(page)
        if field == "clean":
            at.segmented_control(key="circuits:view").set_value("patching").run()
        if field in ("branches", "cache"):
            at.segmented_control(key="sampling:view").set_value(field).run()
        if field == "scored_file":
            at.segmented_control(key="perplexity:source").set_value("upload").run()
        if field == "pasted":
            at.segmented_control(key="corpus:source").set_value("paste").run()
        if field == "settings" and page == "build/train":
            at.toggle(key="train:expert").set_value(True).run()
        assert not at.exception, at.exception
        assert len(at.title) == 1


def test_forgetting_deletes_all_of_it_and_begins_anew_with_the_same_key(pages, own_home, monkeypatch):
    told = []
    monkeypatch.setattr(kept, "browser_key", lambda offered, **more: told.append((offered, more["leave"])) or BROWSER)
    at = paste(pages, TEXT)
    at.sidebar.button(key="frame:kept_forget").click().run()
    assert list((own_home / ".visitors").iterdir()) == []
    assert told[-1][0] == BROWSER
    assert told[-1][1]
    assert not at.success  # the page waits for the browser to begin anew, and keeps nothing more
    assert "tales" in pages.open("build/corpus").success[0].value


def test_someone_else_gets_a_new_key_and_no_control_over_the_former_runs(pages, own_home, monkeypatch):
    with_profile(monkeypatch, "classroom")
    run_id = pages.submit("hers", owner=BROWSER, training__max_steps=20_000)
    told = []
    monkeypatch.setattr(kept, "browser_key", lambda offered, **more: told.append((offered, more["leave"])) or BROWSER)
    at = pages.open("build/train", run=run_id)
    assert at.button(key="train:stop")
    at.sidebar.button(key="frame:kept_leave").click().run()
    new, nonce = told[-1]
    assert new != BROWSER
    assert len(new) >= 32
    assert nonce
    assert list((own_home / ".visitors").iterdir()) == []
    be_another(monkeypatch, new)  # what the browser answers after it has begun anew
    at = pages.open("build/train", run=run_id)
    assert not [button for button in at.button if button.key == "train:stop"]
    assert [snapshot for snapshot in at.sidebar.selectbox[0].options if "hers" in snapshot] == ["hers"]  # by its link
    assert pages.run_of(pages.open("build/train")) == run_id


@pytest.mark.parametrize(("name", "words"), [("local", "4,000 MB"), ("classroom", "14 days"), ("hosted", "1 day ")])
def test_the_sidebar_says_what_is_kept_where_and_how_long(pages, monkeypatch, name, words):
    with_profile(monkeypatch, name)
    said = " ".join(item.value for item in pages.open("build/corpus").sidebar.markdown)
    assert words in said
    assert "Only on the machine" in said
