"""Is it copying? What the view says of a text equals what a search in the training text says, and the page shows it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.app.sampling import copying_view as view
from minigpt.app.sampling.copying_view import LENGTHS, Baseline, Copy, Spans
from minigpt.app.session import models, runs
from minigpt.app.texts import percent, t
from minigpt.evaluation.copying import SharedSpan, shared_spans
from minigpt.runs import text as run_text
from minigpt.runs.loading import load_run

PAGE = "use/sampling"
SOURCE = "the cat sat on the mat and the dog sat on the log"


def copy_of(text: str, shortest: int = 1) -> Copy:
    found = shared_spans(text, SOURCE, shortest)
    return Copy("", text, Spans(len(text), found), tuple(("", text[span.start : span.end], "") for span in found))


def never() -> bool:
    return False


@given(st.text("the catsondlg", max_size=40), st.integers(1, 8))
def test_the_pieces_are_the_text_and_underline_what_is_shared(text: str, shortest: int) -> None:
    copy = copy_of(text)
    pieces, spans = view.pieces(copy, shortest)
    assert "".join(piece for piece, _ in pieces) == text
    underlined = sum(len(piece) for piece, index in pieces if index >= 0)
    assert underlined == round(copy.spans.share(shortest) * len(text))
    for piece, index in pieces:
        if index >= 0:
            assert piece in spans[index].inside
            assert spans[index].length == len(spans[index].inside) >= shortest
    assert {index for _, index in pieces} - {-1} == set(range(len(spans)))


def test_what_counts_begins_where_held_out_text_shares_little() -> None:
    found = (SharedSpan(0, 20, 0), SharedSpan(30, 20, 0))
    baseline = Baseline(Spans(100, found), 1000, True, "")
    assert baseline.share(16, 100) == 0.4
    assert baseline.first_length(100) == 24
    assert baseline.first_length(10) == 12  # in pieces of 10 no span is longer
    assert Baseline(Spans(0, ()), 1000, True, "").share(16, 100) is None
    assert Baseline(Spans(0, ()), 1000, True, "").first_length(100) == LENGTHS[-1]


def test_the_verdict_follows_the_comparison_with_held_out_text() -> None:
    text = SOURCE[:40]
    low = Baseline(Spans(1000, (SharedSpan(0, 40, 0),)), 1000, False, "")  # one of 25 pieces is shared
    high = Baseline(Spans(1000, (SharedSpan(0, 1000, 0),)), 1000, True, "")
    none = Baseline(Spans(0, ()), 1000, True, "")
    said = {
        name: view.sentences(copy_of(given, 8), baseline, 8, is_typed=True)
        for name, given, baseline in (
            ("more", text, low), ("less", "q" * 40, high), ("usual", text, high), ("alone", text, none),
        )
    }  # fmt: skip
    counts = {"more": "1", "less": "25", "usual": "25", "alone": ""}
    for name, sentences in said.items():
        assert t(f"sampling.copying_see_{name}", found=counts[name], total="25") in sentences
    few = Baseline(Spans(100, ()), 1000, True, "")
    assert len(view.sentences(copy_of(text, 8), few, 8, is_typed=True)) == 3  # too few pieces for a verdict
    assert percent(1.0) in said["more"][0]
    assert t("sampling.copying_see_part", count="1,000") in said["more"]
    assert not any("longest" in sentence for sentence in said["less"])


def test_the_shares_of_the_pieces_have_the_mean_share() -> None:
    baseline = Baseline(Spans(100, (SharedSpan(3, 20, 0), SharedSpan(15, 30, 0), SharedSpan(70, 9, 0))), 1000, True, "")
    for window, shortest in ((10, 5), (20, 9), (50, 16), (100, 10)):
        shares = baseline.shares(shortest, window)
        assert sum(shares) / len(shares) == pytest.approx(baseline.share(shortest, window))


def test_texts_looked_up_together_are_as_alone(pages) -> None:
    run = load_run(pages.trained())
    groups = view.spans_at_temperatures(run, "the ", [0.0, 1.0], 30, 4, never)
    assert [len(group) for group in groups] == [1, view.NUM_TEXTS]
    alone = view.written_copy(run, ("the ", 1.0, 30, 4), never)
    assert groups[1][0].num_chars == alone.spans.num_chars
    assert {(span.start, span.length) for span in groups[1][0].found} == {
        (span.start, span.length) for span in alone.spans.found
    }
    source = run_text.learned_text(run_text.RunFolder(run.path)).train
    for span, (before, inside, after) in zip(alone.spans.found, alone.around, strict=True):
        assert inside == alone.text[span.start : span.end]
        assert before + inside + after in source.replace(run_text.DOCUMENT_BORDER, "\n\n")


def sent(at):
    """What the component of the text was sent last."""
    found = [item.proto.json for item in at.get("bidi_component") if item.proto.WhichOneof("data") == "json"]
    return next(message for message in map(json.loads, found) if "pieces" in message)


def test_the_page_underlines_compares_and_takes_a_text(pages) -> None:
    models.reset()
    at = pages.open(PAGE, run=pages.trained())
    at.segmented_control(key="sampling:view").set_value("copying").run()
    assert not at.exception
    shown = sent(at)
    assert shown["prompt"]
    words = pages.words(at)
    assert "also stand in the training text" in words
    assert "Held-out text of this length has" in words
    for figure in ("temperature", "step", "length"):
        at.segmented_control(key="sampling:copying_figure").set_value(figure).run()
        assert not at.exception
        assert t(f"sampling.copying_about_{figure}", count=view.NUM_TEXTS) in pages.words(at)
    passage = next(button for button in at.button if button.label == t("sampling.copying_try_passage"))
    passage.click().run()
    assert not at.exception
    shown = sent(at)
    assert [index for _, index in shown["pieces"]] == [0]  # all of it is one span
    assert f"**{percent(1.0)}**" in pages.words(at)
    at.text_area(key=next(area.key for area in at.text_area if area.key.startswith("sampling:copying_text"))).set_value(
        "qqq <b>x</b> $y$ 😀"
    ).run()
    assert not at.exception
    assert f"**{percent(0.0)}**" in pages.words(at)


def test_a_run_whose_text_is_gone_says_so(pages) -> None:
    run_id = pages.trained()
    for path in (runs.find_run(run_id).path / "data").glob("*.bin"):
        path.unlink()
    at = pages.open(PAGE, run=run_id)
    at.segmented_control(key="sampling:view").set_value("copying").run()
    assert not at.exception
    assert t("sampling.copying_gone") in pages.words(at)


@pytest.mark.parametrize("text", ["", " ", "a", "\ufffd\uffff", "é" * 300])
def test_any_text_is_looked_up(pages, text: str) -> None:
    copy = view.copy_of(load_run(pages.trained()), text, never)
    pieces, _ = view.pieces(copy, LENGTHS[0])
    assert "".join(piece for piece, _ in pieces) == copy.text
