"""Scores are computed once; what they depend on is in the key, and no entry can do harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from minigpt.config import RunConfig, TransformerConfig
from minigpt.data.files import TextFile
from minigpt.evaluation import cache
from minigpt.evaluation.cache import evaluate_once
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "the cat sat on the mat. the dog sat on the log. "
SHAPE = TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=8)


def made(text: str = TEXT, *, seed: int = 1, shape: TransformerConfig = SHAPE, clean: bool = True) -> Any:
    tokenizer = CharacterTokenizer().train(text)
    config = RunConfig(model=shape).updated({"data.clean": clean})
    return SimpleNamespace(
        model=Transformer(shape, tokenizer.vocab_size, seed=seed).eval(), tokenizer=tokenizer, config=config
    )


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were really scored."""
    scored: list[str] = []
    evaluate = ModelEvaluator.evaluate

    def watched(self: ModelEvaluator, text: Any, **options: Any) -> Evaluation:
        scored.append(text if isinstance(text, str) else text.read())
        return evaluate(self, text, **options)

    monkeypatch.setattr(ModelEvaluator, "evaluate", watched)
    return scored


def nudged() -> Any:
    run = made()
    with torch.no_grad():
        run.model.embedding.weight[3, 3] += 1e-3
    return run


def swapped() -> Any:
    """Another tokenizer with as many tokens."""
    run = made()
    characters = run.tokenizer.to_dict()["characters"]
    return SimpleNamespace(
        model=run.model, tokenizer=CharacterTokenizer([*characters[1:], characters[0]]), config=run.config
    )


OTHERS: dict[str, Callable[[], tuple[Any, str, int | None]]] = {
    "another seed": lambda: (made(seed=2), TEXT, None),
    "one weight a little different": lambda: (nudged(), TEXT, None),
    "another architecture with equal shapes": lambda: (made(shape=replace_shape()), TEXT, None),
    "another order of the vocabulary": lambda: (swapped(), TEXT, None),
    "a text that is not cleaned": lambda: (made(clean=False), TEXT, None),
    "another text": lambda: (made(), TEXT + ".", None),
    "an empty line more": lambda: (made(), TEXT + "\n", None),
    "another stride": lambda: (made(), TEXT, 3),
}


def replace_shape() -> TransformerConfig:
    return SHAPE.model_copy(update={"norm_position": "post"})


@pytest.mark.parametrize("what", OTHERS)
def test_other_weights_texts_and_settings_are_scored_anew(what: str, computed: list[str], tmp_path: Path) -> None:
    """Two equal calls compute once, and the other one computes again, with the result of the evaluator itself."""
    first = evaluate_once(made(), TEXT, folder=tmp_path)
    assert evaluate_once(made(), TEXT, folder=tmp_path) == first == ModelEvaluator(made()).evaluate(TEXT)
    assert len(computed) == 2
    run, text, stride = OTHERS[what]()
    other = evaluate_once(run, text, stride=stride, folder=tmp_path)
    assert len(computed) == 3
    assert other == ModelEvaluator(run).evaluate(text, stride=stride)


def test_a_file_is_the_text_in_it_however_it_is_read(computed: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT * 20)
    evaluate_once(made(), TEXT * 20, folder=tmp_path / "scores")
    for size in (7, 64):
        evaluate_once(made(), TextFile(tmp_path / "a.txt", block_bytes=size), folder=tmp_path / "scores")
    evaluate_once(made(), TEXT * 20, stride=8, folder=tmp_path / "scores")  # the stride that None stands for
    assert len(computed) == 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "torn": lambda content: content[:50],
    "a digit": lambda content: content.replace(b'"num_chars": 48', b'"num_chars": 49'),
    "noise": lambda content: b"\x00\xff" * 300,
    "no object": lambda content: b"[1]",
    "another form": lambda content: json.dumps({"check": cache._check({}), "scores": {}}).encode(),
    "another type": lambda content: json.dumps({"check": cache._check("x"), "scores": "x"}).encode(),
    "a text for a number": lambda content: content.replace(b'"stride": 8', b'"stride": "8"'),
    "huge": lambda content: content + b" " * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_again_and_replaced(damage: str, computed: list[str], tmp_path: Path) -> None:
    expected = evaluate_once(made(), TEXT, folder=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGES[damage](whole))
    assert entry.read_bytes() != whole
    assert evaluate_once(made(), TEXT, folder=tmp_path) == expected
    assert len(computed) == 2
    assert entry.read_bytes() == whole


def test_a_folder_that_cannot_be_used_costs_only_time(computed: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert evaluate_once(made(), TEXT, folder=tmp_path / "file").num_tokens_scored == len(TEXT)
    assert len(computed) == 2


def test_the_entries_that_were_used_last_are_kept(
    computed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 3)
    for number in range(3):
        evaluate_once(made(), TEXT[number:], folder=tmp_path)
        for age, path in enumerate(sorted(tmp_path.iterdir(), key=cache._last_use, reverse=True)):
            os.utime(path, (1000 - age, 1000 - age))
    evaluate_once(made(), TEXT, folder=tmp_path)  # used again, so the second is now the oldest
    evaluate_once(made(), TEXT[3:], folder=tmp_path)
    assert len(list(tmp_path.glob("*"))) == 3
    computed.clear()
    for number in (0, 2, 3):
        evaluate_once(made(), TEXT[number:], folder=tmp_path)
    assert computed == []


def test_a_loss_too_large_for_a_perplexity_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = replace(ModelEvaluator(made()).evaluate(TEXT), loss=900.0, perplexity=float("inf"))
    monkeypatch.setattr(ModelEvaluator, "evaluate", lambda *_, **__: huge)
    assert evaluate_once(made(), TEXT, folder=tmp_path) == huge == evaluate_once(made(), TEXT, folder=tmp_path)


def test_no_text_is_in_an_entry(tmp_path: Path) -> None:
    run = made()
    run.tokenizer = ByteTokenizer()
    run.model = Transformer(SHAPE, run.tokenizer.vocab_size, seed=1).eval()
    evaluate_once(run, "a secret", folder=tmp_path)
    (entry,) = tmp_path.iterdir()
    assert b"secret" not in entry.read_bytes()
