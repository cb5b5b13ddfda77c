"""Texts of a few hundred characters and fewer, with every preset: they train, or the advice in the message does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minigpt import resources
from minigpt.config import load_config
from minigpt.data.corpora import read_corpus
from minigpt.errors import CorpusError, RunExistsError
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import create_run

TEXT = "the cat sat on the mat and saw a dog. " * 20
QUICK = {
    "model.num_layers": 1, "model.num_heads": 2, "model.num_kv_heads": None, "model.d_model": 8, "model.d_ff": 8,
    "training.max_steps": 2, "training.warmup_steps": 0, "training.cooldown_steps": None, "training.sample_tokens": 4,
    "training.batch_size": 4, "training.accumulation_steps": 1, "training.eval_steps": 1,
    "training.num_threads": 1, "training.precision": "float32", "training.compile": False, "device": "cpu",
}  # fmt: skip


CASES = [(preset, num_chars) for preset in resources.preset_names() for num_chars in (8, 60, 200, 700)]


@pytest.mark.parametrize(("preset", "num_chars"), [*CASES, ("nano", 2), ("nano", 4)])
def test_a_short_text_trains_or_the_advice_does(tmp_path: Path, preset: str, num_chars: int) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT[:num_chars])
    config = load_config(preset, overrides={**QUICK, "data.paths": [str(path)]}, environment={})
    refused = ""
    try:
        folder = create_run(config, read_corpus(config.data))
    except CorpusError as error:
        refused = str(error)
    if refused:
        advised = re.search(r"model\.sequence_length to (\d+)", refused)
        assert advised is not None, refused
        config = config.updated({"model.sequence_length": int(advised[1])})
        folder = create_run(config, read_corpus(config.data))
    for _ in TrainingJob(folder).work():
        pass
    run = load_run(folder.path)
    assert folder.info.status == "finished"
    assert TextGenerator(run).generate("t" * 10 * run.model.config.sequence_length, max_new_tokens=3).num_new_tokens
    assert ModelEvaluator(run).evaluate(TEXT[:num_chars]).num_chars == num_chars


@pytest.mark.parametrize(
    ("changes", "text", "named"),
    [
        ({"training.learning_rate": 0.5}, None, r"training\.learning_rate"),
        ({"model.d_model": 16}, None, r"model\.d_model"),
        ({"seed": 9}, None, "seed"),
        ({}, TEXT.replace("cat", "cow"), "another corpus"),
        ({}, TEXT.upper(), "another corpus"),  # another alphabet
        ({}, TEXT + "é", "another corpus"),
        ({}, TEXT[:-1], "another corpus"),
    ],
)
def test_a_resume_with_something_else_is_refused_by_its_name(
    tmp_path: Path, changes: dict[str, object], text: str | None, named: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    config = load_config("nano", overrides={**QUICK, "data.paths": [str(path)]}, environment={})
    folder: RunFolder = create_run(config, read_corpus(config.data))
    corpus = None
    if text is not None:
        path.write_text(text)
        corpus = read_corpus(config.data)
    with pytest.raises(RunExistsError, match=named):
        check_resume(folder, folder.config.updated(changes), corpus)
    assert check_resume(folder, folder.config) == folder.config
