"""Models for pages: own copies, cached by run and step, with a limit on their size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minigpt.app.session import models
from minigpt.app.session.runs import RunRef
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import RunNotFoundError
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run


@pytest.fixture
def ref(own_home: Path) -> Iterator[RunRef]:
    tiny = {
        "model.num_layers": 1, "model.num_heads": 1, "model.d_model": 8, "model.sequence_length": 8,
        "training.max_steps": 4, "training.warmup_steps": 0, "training.eval_steps": 2, "training.sample_steps": 0,
        "training.history_per_octave": 1, "device": "cpu",
    }  # fmt: skip
    folder = create_run(RunConfig().updated(tiny), corpus_from_text("the cat sat on the mat. " * 20, name="cat"))
    for _ in TrainingJob(folder, num_threads=1).work():
        pass
    models.reset()
    yield RunRef(folder.id, folder.name, False, folder.path)
    models.reset()


def test_a_run_is_loaded_once_for_each_step(ref: RunRef) -> None:
    last = models.loaded_run(ref, "last")
    assert (last.step, last.id) == (4, ref.id)
    assert models.loaded_run(ref, "last") is last
    early = models.loaded_run(ref, 2)
    assert early.step == 2
    assert models.loaded_run(ref, 2) is early
    assert last.tokenizer.vocab_size == last.model.vocab_size
    assert last.config.training.max_steps == 4


def test_models_are_dropped_by_size_but_never_the_most_recent_one(ref: RunRef, monkeypatch: pytest.MonkeyPatch) -> None:
    first = models.loaded_run(ref, 1)
    monkeypatch.setattr(models, "MAX_BYTES", sum(parameter.nbytes for parameter in first.model.parameters()))
    second = models.loaded_run(ref, 2)
    assert models.loaded_run(ref, 2) is second
    assert models.loaded_run(ref, 1) is not first


def test_a_step_that_was_not_kept_is_an_error(ref: RunRef) -> None:
    with pytest.raises(RunNotFoundError, match="step 3"):
        models.loaded_run(ref, 3)
