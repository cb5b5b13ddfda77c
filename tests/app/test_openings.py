"""The texts that pages open with: the run's own held-out part, else its own sample, and always one that it can read."""

from __future__ import annotations

import random
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt import resources
from minigpt.app.session import models, run_text, runs
from minigpt.app.session.run_text import PASSAGE_CHARS, PROPOSED, opening
from minigpt.app.texts import t
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, load_corpus
from minigpt.data.prepared import open_data
from minigpt.runs import manager
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import begin_run, create_run
from minigpt.runs.store import RunStore
from tests.app.conftest import TINY

CONTEXT = TINY["model.sequence_length"]


def written(alphabet: str, *, lengths=(2, 9), words=(3, 12), lines=60, between=" ", seed=1) -> str:
    """Return random lines of random words over an alphabet."""
    draw = random.Random(seed)
    return "\n".join(
        between.join("".join(draw.choices(alphabet, k=draw.randint(*lengths))) for _ in range(draw.randint(*words)))
        for _ in range(lines)
    )


def mails(count=20) -> str:
    lines = written("abcdefghijklmnoprstuvw", lines=3 * count).splitlines()
    return "\n".join(
        f"from: {lines[n].split()[0]}@{lines[n].split()[1]}.example\nsubject: {lines[n]}\n\n{lines[n + 1]}.\n\n-- \n"
        for n in range(count)
    )


CORPORA = {
    "arabic": written("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", lines=300),
    "mail": mails(),
    "no spaces": written("天地玄黄宇宙洪荒日月盈昃辰宿列张", between="", lines=40),
    "one line": written("abc def", between=" ", lines=1, words=(400, 400)),
    "code": "def  f(x):\n\n    return x + 1\n" * 40,
    "blank lines": "\n\n\n\na b\n\n\n" * 60,
    "emoji": written("😀🦊🌙👍🏽", lines=50),
    "capitals": written("XYZ", lines=50),
    "digits": written("0123456789", between=",", lines=50),
    "documents": ("qwertyuiopasdfghjklzxcvbnm qwerty", "asdfgh zxcvbn", "qaz wsx edc") * 30,
    "short": "to be or not to be, that is the question that i ask of you today",
}
FACTS = {
    "whole": "held_out",
    "without its data": "written",
    "without data and samples": "shipped",
    "nothing held out": "learned",
    "being prepared": "shipped",
}


def run_with(text: str | tuple[str, ...], fact: str):
    """Return a run of a text and its folder; nothing is trained."""
    share = 0.0 if fact == "nothing held out" else 0.3
    config = RunConfig().updated({**TINY, "data.validation_fraction": share})
    corpus = Corpus("x", (text,) if isinstance(text, str) else text, "given as text")
    folder = begin_run(config, corpus, store=RunStore()) if fact == "being prepared" else create_run(config, corpus)
    if fact.startswith("without"):
        for path in folder.data_path.glob("*.bin"):
            path.unlink()
    if fact == "without its data":
        sample = corpus.documents[0][:300]
        folder.append_metrics({"kind": "sample", "step": 6, "text": sample})
        folder.append_metrics({"kind": "sample", "step": 9, "text": "日⚑ not of this run"})
    return runs.find_run(folder.id), folder


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("name", CORPORA)
def test_every_run_opens_with_a_text_of_its_own_that_it_can_read(name, fact):
    ref, folder = run_with(CORPORA[name], fact)
    tokenizer = None if fact == "being prepared" else folder.tokenizer
    for number in (0, 1, 7, 23, 24, 1000):
        passage, prompt = opening(ref, number), opening(ref, number, PROPOSED)
        assert {passage.source, prompt.source} == {FACTS[fact]}
        assert len(passage.text) <= PASSAGE_CHARS
        assert len(prompt.text) <= min(PROPOSED, CONTEXT)
        assert prompt.text.splitlines() in ([prompt.text], [])
        if tokenizer is not None:
            assert not tokenizer.unknown_characters(passage.text + prompt.text)
        if FACTS[fact] == "shipped":
            continue
        assert passage.text.strip()
        assert prompt.text
        if passage.count:
            data = open_data(folder.data_path)
            own = tokenizer.decode(data.validation if FACTS[fact] == "held_out" else data.train)
            assert passage.text in own
            assert " ".join(prompt.text.split()) in " ".join(own.split())
            assert passage.number < passage.count
        else:
            assert passage.step == 6
    if FACTS[fact] == "held_out" and len(folder.tokenizer.decode(open_data(folder.data_path).validation)) > 800:
        assert len({opening(ref, number).text for number in range(passage.count)}) > 1 or name in (
            "code",
            "blank lines",
        )


@pytest.mark.parametrize("name", ["tales", "repeat"])
def test_a_bundled_run_opens_with_the_end_of_its_corpus_which_it_never_learned(name):
    ref = runs.find_run(name)
    settings = RunFolder(ref.path).config.data
    corpus = load_corpus(name, num_chars=settings.num_chars)
    stream = "".join(f"\0{document}" for document in corpus.documents)  # a character for each token, \0 for BOS
    held_out = stream[-RunFolder(ref.path).meta["num_validation_tokens"] :]
    for number in range(opening(ref).count):
        found = opening(ref, number)
        assert found.source == "held_out"
        assert found.text in held_out


@pytest.mark.parametrize("page", ["attention", "forward", "circuits"])
@pytest.mark.parametrize("name", resources.bundled_run_names())
def test_the_prompts_of_bundled_runs_are_read_by_them(name, page):
    prompt = run_text.default_prompt(runs.find_run(name), page)
    assert prompt
    assert not load_run(name).tokenizer.unknown_characters(prompt)


def test_a_corpus_that_has_changed_is_not_taken_for_the_runs_own(tmp_path):
    shutil.copytree(runs.find_run("tales").path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    ref = runs.RunRef("tales", "tales", bundled=True, path=folder.path)
    assert opening(ref).source == "held_out"
    folder.write_meta({**folder.meta, "sha256": "0" * 64})
    run_text._rebuilt_parts.cache_clear()
    assert opening(ref).source == "written"


def test_documents_and_lines_begin_a_passage():
    _, folder = run_with(CORPORA["documents"], "whole")
    ids, tokenizer = open_data(folder.data_path).validation, folder.tokenizer
    for start in range(0, 60, 7):
        assert run_text.passage_of(tokenizer, ids, start) == CORPORA["documents"][0]  # the only one that is long enough


@pytest.mark.parametrize("bos", [None, 0])
def test_a_passage_of_tokens_of_any_kind_is_text_of_the_run(bos):
    """Tokens that are bytes or pairs of characters may be cut anywhere; what is left of a character is no text."""
    text = "\n".join(f"zażółć {number} gęślą jaźń 猫😀" for number in range(200))
    raw = text.encode()
    pairs = [text[start : start + 2] for start in range(0, len(text), 2)]
    kinds = {
        "bytes": (np.frombuffer(raw, np.uint8), lambda ids: bytes(ids).decode("utf-8", "replace")),
        "pairs": (np.arange(1, len(pairs) + 1), lambda ids: "".join(pairs[number - 1] for number in ids if number)),
    }
    for ids, decode in kinds.values():
        tokenizer = SimpleNamespace(bos_id=bos, decode=decode)
        for start in range(0, len(ids), 97):
            passage = run_text.passage_of(tokenizer, ids, start)
            assert passage in text
            assert passage.strip()
            assert len(passage) <= PASSAGE_CHARS


def test_what_was_typed_stays_when_the_run_changes_and_is_replaced_when_asked(pages, arabic):
    at = pages.open("use/perplexity", run=arabic)
    at.text_area[0].set_value("my own").run()
    picker = next(box for box in at.selectbox if str(box.key).startswith("frame:run"))
    picker.set_value("tales").run()
    assert at.text_area[0].value == "my own"
    assert "never learned from" not in pages.words(at)
    at.button(key="perplexity:another").click().run()
    assert at.text_area[0].value == opening(runs.default_run()).text
    assert "never learned from" in pages.words(at)


def test_a_prompt_is_the_first_line_that_is_long_enough():
    text = "a\n\n  def  f(x):\n    return x + 1\n"
    assert run_text.line_of(text, 5) == "def"
    assert run_text.line_of(text, 9) == "def f(x):"
    assert run_text.line_of(text, 12) == "return x + 1"
    assert run_text.line_of(text, 40) == "return x + 1"
    assert run_text.line_of("thecatsat", 3) == "the"  # part of a word is better than nothing
    assert run_text.line_of("\n", 40) == ""


# --- the pages ---


@pytest.fixture
def arabic(pages):
    models.reset()
    corpus = Corpus("arabic", (CORPORA["arabic"],), "given as text")
    run_id = manager.get_engine().submit(RunConfig().updated(TINY), corpus, "", name="arabic")
    pages.wait(run_id, "finished")
    return run_id


@pytest.mark.parametrize(("page", "kind"), [("perplexity", "text_area"), ("sampling", "text_input")])
def test_a_page_opens_with_the_runs_own_text_says_so_and_offers_others(pages, arabic, page, kind):
    ref = runs.find_run(arabic)
    at = pages.open(f"use/{page}", run=arabic)

    def field():
        return next(box for box in getattr(at, kind) if str(box.key).startswith(page))

    line = None if page == "perplexity" else PROPOSED
    first, second = opening(ref, 0, line), opening(ref, 1, line)
    assert field().value == first.text
    assert f"passage 1 of {first.count}" in pages.words(at)
    at.button(key=f"{page}:another").click().run()
    assert field().value == second.text
    assert f"passage 2 of {first.count}" in pages.words(at)
    at.button(key=f"{page}:sample").click().run()
    assert field().value == run_text.sample_of(ref, line).text
    assert "This run wrote this itself" in pages.words(at)
    field().set_value("my own").run()
    assert field().value == "my own"
    assert "never learned from" not in pages.words(at)
    assert not at.exception
    at.button(key=f"{page}:another").click().run()
    assert "never learned from" in pages.words(at)


@pytest.mark.parametrize("page", ["use/perplexity", "use/sampling"])
def test_a_run_without_data_opens_with_its_own_sample_and_says_so(pages, arabic, page):
    ref = runs.find_run(arabic)
    for path in (ref.path / "data").glob("*.bin"):
        path.unlink()
    at = pages.open(page, run=arabic)
    assert "This run wrote this itself during its training" in pages.words(at)
    assert not [button for button in at.button if str(button.key).endswith(":another")]
    assert "vocabulary" not in pages.words(at)
    assert "never seen" not in pages.words(at)
    assert not at.error


@pytest.mark.parametrize("page", ["attention", "forward", "circuits"])
def test_no_page_opens_with_what_the_model_cannot_read(pages, arabic, page):
    at = pages.open(f"inside/{page}", run=arabic)
    assert opening(runs.find_run(arabic), line=PROPOSED).text.startswith(at.text_input[0].value)
    assert t("inside.note_unknown", listed="")[:20] not in pages.words(at)
    assert not at.exception
