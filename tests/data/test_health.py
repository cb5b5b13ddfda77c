"""The health check: good texts get no alarm, each kind of defect is found, and its mend removes it."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import RunConfig
from minigpt.data import health, mends, parts
from minigpt.data.corpora import Corpus, corpus_infos, load_corpus
from minigpt.data.health import check_health
from minigpt.data.overlap import copied_share
from minigpt.data.prepared import expected_vocab_size
from minigpt.tokenizers.base import make_tokenizer

BUILT_IN = [info.name for info in corpus_infos() if not info.needs_download]
REPETITIVE = {"duplicates": "repetition"}
"""Built-in texts that are a lesson on a defect."""


def examined(*documents, **changes):
    """Return the findings by kind."""
    config = RunConfig().updated({"model.sequence_length": 32, **{k.replace("__", "."): v for k, v in changes.items()}})
    corpus = Corpus("text", documents, "test")
    vocab_size = expected_vocab_size(make_tokenizer(config.tokenizer), corpus)
    result = check_health(corpus, config, vocab_size=vocab_size)
    assert all(finding.kind in health.KINDS for finding in result.findings)
    order = [("blocking", "warning", "note").index(finding.severity) for finding in result.findings]
    assert order == sorted(order)
    return {finding.kind: finding for finding in result.findings}


def words(count, seed=0, alphabet="abcdefghijklmnoprstuvw", spread=3000):
    """Return made prose: words of a lexicon whose frequencies follow Zipf's law, in sentences and lines."""
    chance = random.Random(seed)
    lexicon = ["".join(chance.choices(alphabet, k=chance.randint(2, 8))) for _ in range(spread)]
    weights = [1 / (rank + 3) for rank in range(spread)]
    lines = (" ".join(chance.choices(lexicon, weights, k=chance.randint(6, 12))) for _ in range(count // 9))
    return ".\n".join(lines)


def chinese(count, distinct=2500, seed=0):
    chance = random.Random(seed)
    characters = [chr(0x4E00 + code) for code in chance.sample(range(6000), distinct)]
    weights = [1 / (rank + 3) for rank in range(distinct)]
    return "。\n".join("".join(chance.choices(characters, weights, k=24)) for _ in range(count // 26))


@pytest.mark.no_cover
@pytest.mark.parametrize("name", BUILT_IN)
def test_no_good_text_gets_an_alarm(name):
    corpus = load_corpus(name, num_chars=200_000)
    found = examined(*corpus.documents)
    assert {kind for kind, finding in found.items() if finding.severity != "note"} <= {REPETITIVE.get(name)}


GOOD = {
    "prose": lambda: words(9000),
    "chinese": lambda: chinese(90_000, distinct=800),
    "arabic": lambda: words(9000, alphabet="ابتثجحخدذرزسشصضطظعغفقكلمنهوي"),
    "hindi": lambda: words(9000, alphabet="कखगघचछजझटठडढतथदधनपफबभमयरलवशसह"),
    "with emoji": lambda: "\n".join(line + " 👩\u200d🔬" for line in words(9000).split("\n")),
    "a play": lambda: "\n".join(f"{'ABCD'[n % 4]}LICE:\n{line}" for n, line in enumerate(words(9000).split("\n"))),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=list(GOOD))
@pytest.mark.parametrize("split", ["end", "blocks"])
def test_no_made_text_gets_an_alarm(text, split):
    found = examined(text(), data__split=split)
    assert not [finding.sentence for finding in found.values() if finding.severity != "note"]


PROSE = words(9000)
LINES = PROSE.split("\n")
ENGLISH = "there was a cat that was with her and they were not from the house of his father "
GERMAN = "der hund und die katze sind nicht auf dem weg mit ihm und sie wir ist es eine zu von "
DEFECTS = {
    "one word": ("repetition", lambda: "word " * 5000),
    "two words": ("repetition", lambda: "yes no " * 5000),
    "one character and a line end": ("repetition", lambda: "x" * 50_000 + "\n"),
    "almost one character": ("repetition", lambda: "".join("." * 30 + c for c in PROSE[:3000])),
    "one line": ("repetition", lambda: "It was a dark and stormy night, and it rained.\n" * 60),
    "one stanza": ("repetition", lambda: PROSE[:700] * 50),
    "one sentence without a line end": ("repetition", lambda: "她说今天下雨。" * 2000),
    "the same book twice": ("copied", lambda: PROSE + PROSE),
    "two hundred lines in any order": ("copied", lambda: "\n".join(random.Random(0).choices(LINES[:200], k=1500))),
    "an anthology that quotes its end": ("copied", lambda: PROSE[-7000:] + PROSE),
    "every other line twice": (
        "lines",
        lambda: "\n".join(itertools.chain.from_iterable((a, a, b, b) for a, b in itertools.pairwise(LINES[::2]))),
    ),
    "page headers with numbers": (
        "boilerplate",
        lambda: "\n".join(f"Collected Works, page {n}\n" + "\n".join(LINES[8 * n : 8 * n + 8]) for n in range(110)),
    ),
    "a footer in each document": ("boilerplate", lambda: "\n-- sent from my telephone --\n".join(LINES[::4])),
    "a little Chinese": ("alphabet", lambda: chinese(9000)),
    "less Chinese": ("alphabet", lambda: chinese(4000)),
    "an index at the end": ("unlike", lambda: PROSE + "\n".join(f"A{n}, B{n % 7}: {n}" for n in range(450))),
    "other letters at the end": ("unlike", lambda: PROSE + words(1300, 1, "абвгдежзиклмнопрсту")),
    "UTF-8 read as cp1252": (
        "encoding",
        lambda: PROSE.replace("ab", "é").replace(".", " –").encode().decode("cp1252", "ignore"),
    ),
    "UTF-8 read as Latin-1": ("encoding", lambda: PROSE.replace("ab", "ö").encode().decode("latin-1")),
    "characters that could not be read": ("encoding", lambda: PROSE.replace("ab", "\ufffd")),
    "two scripts": ("scripts", lambda: "\n".join((PROSE, words(5000, 2, "абвгдежзиклмнопрсту")))),
    "two languages": ("languages", lambda: "\n".join([ENGLISH.strip()] * 300 + [GERMAN.strip()] * 300)),
    "curly and straight": ("signs", lambda: PROSE.replace("a ", '" ').replace("b ", "” ")),
    "two kinds of spaces": ("signs", lambda: PROSE.replace("a ", "a\u00a0")),
    "soft hyphens": ("signs", lambda: PROSE.replace("aa", "a\u00ada")),
    "HTML": ("markup", lambda: "".join(f"<p class='x'>{line}</p>\n<br/>" for line in LINES)),
    "entities": ("markup", lambda: PROSE.replace(" ", "&nbsp;")),
    "no line end": ("long_lines", lambda: PROSE.replace("\n", " ")),
    "characters of one word only": ("rare", lambda: PROSE + "αβγδεζηθικλμνξοπρστυφχψω"),
    "a poem": ("small", lambda: PROSE[:141]),
    "a page": ("small", lambda: PROSE[:3000]),
    "three words": ("too_short", lambda: "just three words"),
    "two letters": ("too_short", lambda: "ab"),
}


@pytest.mark.parametrize(("kind", "text"), DEFECTS.values(), ids=list(DEFECTS))
def test_each_defect_is_found(kind, text):
    found = examined(text())
    assert kind in found, list(found)
    assert found[kind].sentence.endswith(".")


MENDED = [
    name
    for name, (kind, _) in DEFECTS.items()
    if kind in ("lines", "boilerplate", "encoding", "signs", "markup", "rare")
]


@pytest.mark.parametrize("name", MENDED)
def test_its_mend_removes_it_and_touches_nothing_else(name):
    kind, make = DEFECTS[name]
    text = make()
    mended = mends.MENDS[examined(text)[kind].mend]([text])
    assert kind not in examined(*mended)
    assert mends.MENDS[kind](mended) == mended
    assert 0.2 * len(text) < sum(map(len, mended)) <= len(text)
    assert mended != [text]


@pytest.mark.parametrize("text", [PROSE[:141], PROSE[:300], "just three words here", PROSE[:80]])
def test_a_context_that_is_offered_fits(text):
    (changes,) = [dict(finding.changes) for finding in examined(text).values() if finding.changes]
    assert not any(finding.changes for finding in examined(text, **changes).values())


def test_blocks_make_an_unlike_validation_part_alike():
    text = DEFECTS["an index at the end"][1]()
    assert dict(examined(text)["unlike"].changes) == {"data.split": "blocks"}
    assert "unlike" not in examined(text, data__split="blocks")


@pytest.mark.parametrize("name", ["a little Chinese", "less Chinese"])
def test_the_tokenizer_that_is_offered_has_the_smaller_vocabulary(name):
    text = DEFECTS[name][1]()
    finding = examined(text)["alphabet"]
    assert finding.numbers["weights"] == (len(set(text)) + 4) * RunConfig().model.d_model
    assert "alphabet" not in examined(text, **finding.changes)


@pytest.mark.parametrize(
    "name", [name for name, (kind, _) in DEFECTS.items() if kind in ("small", "repetition", "copied")]
)
def test_no_two_sentences_contradict_each_other(name):
    sentences = " ".join(finding.sentence for finding in examined(DEFECTS[name][1]()).values())
    assert ("turn upwards" in sentences) + ("hardly more than chance" in sentences) + ("copy of" in sentences) <= 1


def test_a_long_corpus_is_sampled_and_the_same_is_found(monkeypatch):
    text = PROSE + PROSE
    monkeypatch.setattr(parts, "SAMPLE_CHARS", len(text) // 3)
    monkeypatch.setattr(parts, "_BLOCK_CHARS", 1000)
    result = check_health(Corpus("text", (text,), "test"), RunConfig(), vocab_size=30)
    assert result.is_sampled
    found = {finding.kind: finding for finding in result.findings}
    assert not found.keys() & {"unlike", "repetition", "alphabet"}


@given(
    train=st.text(alphabet="ab\n", min_size=1, max_size=300),
    validation=st.text(alphabet="ab\n", min_size=1, max_size=80),
    start=st.integers(0, 200),
)
@settings(max_examples=40)
def test_copied_spans_are_those_that_a_search_finds(train, validation, start):
    validation += train[start : start + 40]
    span = min(128, 1 << max(len(validation) // 4, 1).bit_length() - 1)
    shares = copied_share(train, validation)
    assert 0 <= shares <= 1
    # a span counts if the training part has it at a multiple of 16, so each that is found is really there
    really = set()
    for place in range(len(validation) - span + 1):
        if validation[place : place + span] in train:
            really.update(range(place, place + span))
    assert shares * len(validation) <= len(really) + 1e-9 if span >= 8 else shares == 0


@given(st.lists(st.text(max_size=60), max_size=4), st.sampled_from(sorted(mends.MENDS)))
@settings(max_examples=40)
def test_mending_twice_is_mending_once_on_any_text(documents, name):
    once = mends.MENDS[name](documents)
    assert all(document.strip() for document in once)
    if name not in ("rare", "encoding"):  # removing characters makes others rare, and reading again may find more
        assert mends.MENDS[name](once) == once
