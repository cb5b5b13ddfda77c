"""Scoring a long text takes the memory of a short one, and gives the numbers of the text as a whole."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minigpt.data.files import TextFile
from minigpt.errors import CorpusError
from minigpt.evaluation import perplexity
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator
from minigpt.runs.loading import Run, load_run
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from tests.evaluation.test_perplexity import real_run, uniform_run

TEXTS = {
    "plain": "a bad cab faced a deaf dad; a bee fed a cad. " * 3,
    "line ends, accents, control characters": "a bad\r\ncab\r\x07 caf\u0065\u0301 e\u0301\u0301 \x85 dad" * 4,
    "unknown characters": "a \U0001f600 bad \u6f22\u5b57 cab\ufffd " * 5,
    "one character": "a",
    "one long word": "abcdef" * 50,
}


@pytest.mark.parametrize(("kind", "stride"), list(itertools.product(TEXTS, (1, 3, 8))))
def test_a_file_is_scored_like_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stride: int
) -> None:
    """In blocks of a few bytes and characters, with and without BOS: each number, and each token's score, is equal."""
    path = tmp_path / "text.txt"
    path.write_bytes(TEXTS[kind].encode())
    evaluator = ModelEvaluator(real_run(), batch_size=3)
    whole = evaluator.evaluate(TEXTS[kind], stride=stride, return_predictions=True)
    monkeypatch.setattr(perplexity, "_BLOCK", 5)
    for text in (TEXTS[kind], TextFile(path, clean=False, block_bytes=7), TextFile(path, block_bytes=3)):
        assert evaluator.evaluate(text, stride=stride, return_predictions=True) == whole
        assert evaluator.evaluate(text, stride=stride) == replace(whole, predictions=None)


def test_a_tokenizer_that_needs_the_whole_text_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are cut anywhere are joined before they are encoded."""
    run, path, seen = real_run(), tmp_path / "text.txt", []
    path.write_text(TEXTS["plain"])
    monkeypatch.setattr(CharacterTokenizer, "encodable_pieces", BaseTokenizer.encodable_pieces)
    encode = CharacterTokenizer.encode_array
    monkeypatch.setattr(CharacterTokenizer, "encode_array", lambda *given: seen.append(given[1]) or encode(*given))
    ModelEvaluator(run).evaluate(TextFile(path, block_bytes=7))
    assert set(seen) == {TEXTS["plain"]}


def test_a_file_that_is_no_text_further_on_is_refused_before_it_is_scored(tmp_path: Path) -> None:
    """The model has computed nothing."""
    path, run = tmp_path / "text.txt", uniform_run()
    path.write_bytes(b"abcd" * 2000 + b"\x01" * 2000)
    with pytest.raises(CorpusError, match="binary data"):
        ModelEvaluator(run).evaluate(TextFile(path, block_bytes=64))
    assert run.model.shapes == []


@pytest.mark.parametrize("stride", [1, 8])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, stride: int) -> None:
    """A text of ten times the length takes a few megabytes more at most, at any stride."""
    peaks = []
    for num_chars in (8_000 * stride, 80_000 * stride):
        path = tmp_path / f"{num_chars}.txt"
        path.write_text("abcd" * (num_chars // 4))
        evaluator = ModelEvaluator(uniform_run(), batch_size=512)
        evaluator._model.shapes = _Nothing()  # type: ignore[assignment]
        tracemalloc.start()
        evaluator.evaluate(TextFile(path, clean=False, block_bytes=4096), stride=stride)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 3_000_000


class _Nothing(list[Any]):
    def append(self, item: Any) -> None:
        """Keep nothing."""


@pytest.fixture(scope="module")
def tales() -> Run:
    return load_run("tales")


def test_the_same_perplexity_alone_and_among_others_and_with_any_number_of_threads(tales: Run) -> None:
    """Batches of one window or of many, on one thread or on two, differ only in the last digits of float32."""
    text = "Once upon a time there was a little dog. He found a red ball in the garden. " * 12
    found: list[Evaluation] = []

    def score(num_threads: int) -> None:
        torch.set_num_threads(num_threads)  # of this thread only
        found.extend(
            ModelEvaluator(tales, batch_size=size).evaluate(text, stride=stride)
            for size in (1, 2, 16)
            for stride in (32, 128)
        )

    for num_threads in (1, 2):
        worker = threading.Thread(target=score, args=(num_threads,))
        worker.start()
        worker.join()
    assert len(found) == 12
    for stride in (32, 128):
        values = [evaluation.perplexity for evaluation in found if evaluation.stride == stride]
        assert values == pytest.approx([values[0]] * 6, rel=1e-5)
