"""One run per version of the format, never changed: every later minigpt must open, evaluate and resume it.

data/README.md says how each was made.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minigpt.data.prepared import open_data
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import FORMAT_VERSION
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.loading import load_run

OLD = Path(__file__).parent / "data"
STEPS, LOSS, NEXT_LOSS = 60, 3.17668, 3.08933
"""Of v1: updates, loss of its validation text in nats per token, and the training loss of the update after them."""


@pytest.fixture
def v1(tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(OLD / "v1", tmp_path / "v1"))


def test_every_format_version_has_a_run() -> None:
    found = [json.loads(path.read_text("utf-8"))["format_version"] for path in OLD.glob("*/run.json")]
    assert sorted(found) == list(range(1, FORMAT_VERSION + 1))


def test_v1_is_opened_and_measures_what_it_did(v1: RunFolder) -> None:
    run = load_run(v1.path)
    assert (run.name, run.step, run.config.model.num_layers) == ("v1", STEPS, 2)
    text = run.tokenizer.decode(open_data(v1.data_path).validation)
    assert ModelEvaluator(run).evaluate(text).loss == pytest.approx(LOSS, abs=1e-4)
    assert [load_run(v1.path, step=step).step for step in v1.history_steps()] == v1.history_steps() != []
    assert {record["kind"] for record in v1.metrics()} == {"step", "evaluation", "sample"}


def test_v1_is_resumed(v1: RunFolder) -> None:
    check_resume(v1, v1.config.updated({"training.max_steps": STEPS + 1}))
    job = TrainingJob(v1)
    assert job.trainer.step == STEPS
    for _ in job.work():
        pass
    assert v1.info.status == "finished"
    assert v1.checkpoints()[-1] == STEPS + 1
    (loss,) = [r["loss"] for r in v1.metrics() if r["kind"] == "step" and r["step"] == STEPS + 1]
    assert loss == pytest.approx(NEXT_LOSS, abs=1e-4)
