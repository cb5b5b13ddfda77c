"""The weights of a run: which are trusted, and how many are kept."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import RunNotFoundError
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.weights import thinned

CATS = "the cat sat on the mat and the dog ate the cake. " * 12


def test_a_damaged_checkpoint_is_skipped_with_a_warning(copied: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    path = copied.checkpoint_path(8) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        newest = copied.newest_checkpoint()
    assert newest == copied.checkpoint_path(6)
    assert "step-0000008" in caplog.text
    assert "model.safetensors" in caplog.text
    assert copied.weights_path("last") == copied.checkpoint_path(6) / "model.safetensors"
    if copied.best_step == 8:
        assert copied.weights_path() == copied.weights_path("last")
        with pytest.raises(RunNotFoundError):
            copied.weights_path("best")
    assert copied.weights_path(8) == copied.history_path(8)


def test_weights_of_every_kind(copied: RunFolder) -> None:
    assert copied.weights_path(8) == copied.checkpoint_path(8) / "model.safetensors"
    assert copied.weights_path(2) == copied.history_path(2)
    assert copied.weights_path("last") == copied.weights_path(8)
    assert copied.best_step is not None
    assert copied.weights_path() == copied.weights_path("best") == copied.weights_path(copied.best_step)
    with pytest.raises(RunNotFoundError, match=r"step 77.*0, 1, 2"):
        copied.weights_path(77)


def test_unknown_weights_are_refused(copied: RunFolder) -> None:
    with pytest.raises(RunNotFoundError, match="best, last"):
        copied.weights_path("finest")  # type: ignore[arg-type]


def test_before_the_first_checkpoint_history_serves(copied: RunFolder) -> None:
    shutil.rmtree(copied.path / "checkpoints")
    assert copied.weights_path() == copied.history_path(8)
    assert load_run(copied.path).step == 8
    shutil.rmtree(copied.path / "history")
    with pytest.raises(RunNotFoundError, match="no weights yet"):
        copied.weights_path()


@pytest.mark.parametrize(
    ("steps", "per_octave", "most", "kept"),
    [
        ([0, 1, 2, 4, 8], 1, 5, [0, 1, 2, 4, 8]),
        ([0, 1, 2, 4, 8], 1, 4, [0, 1, 4]),
        ([0, 1, 2, 3, 4, 6, 8], 2, 6, [0, 1, 2, 4, 8]),
        ([0, 1, 2, 4, 8, 16, 32, 64, 128, 256], 1, 4, [0, 1, 16, 256]),
        ([0, 1, 2, 4], 1, 1, [0]),
        ([0, 1, 2, 4], 1, 0, []),
    ],
)
def test_thinned(steps: list[int], per_octave: int, most: int, kept: list[int]) -> None:
    assert thinned(steps, per_octave, most) == kept


def test_history_stays_within_its_bytes_and_even(trained: RunFolder, tmp_path: Path) -> None:
    size = trained.history_path(1).stat().st_size
    folder, model = RunFolder(tmp_path), load_run(trained.path).model
    for step in [0, 1, 2, 4, 8, 16, 32, 64, 128]:
        folder.save_history(model, step, per_octave=1, megabytes=4.5 * size / 1e6)
        assert len(folder.history_steps()) <= 4
    before = folder.history_steps()
    assert before == [0, 1, 16, 128]
    folder.save_history(model, 256, per_octave=1, megabytes=1e-6)
    assert folder.history_steps() == before  # a file larger than the whole budget removes no other


def test_the_newest_checkpoints_and_the_best_are_kept(small_run: RunConfig, own_home: Path) -> None:
    config = small_run.updated(
        {"training.max_steps": 12, "training.checkpoint_steps": 1, "training.keep_checkpoints": 2}
    )
    folder = create_run(config, corpus_from_text(CATS, name="cats"))
    job = TrainingJob(folder)
    for work in job.work():
        if work.kind == "micro_batch" and work.step > 0:  # the step before it is done and saved
            kept, best = folder.checkpoints(), job.trainer.best_step
            assert set(kept) == {step for step in (work.step - 1, work.step, best) if step}
            assert folder.best_step == best
    assert folder.best_step == job.trainer.best_step
    assert (folder.path / "checkpoints" / "last").read_text().strip() == "step-0000012"
