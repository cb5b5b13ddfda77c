"""The bundled run `repeat`: it shows the emergence of an induction head, and can be made again."""

from concurrent.futures import CancelledError

import numpy as np
import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import load_corpus
from minigpt.errors import RunNotFoundError
from minigpt.interpret.heads import attention_patterns, head_scores, repeated_ids
from minigpt.interpret.trace import trace_forward
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import find_run, load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore
from tools.make_repeat_run import head_history


@pytest.fixture(scope="module")
def history():
    return head_history(find_run("repeat"))


def test_the_bundled_run_shows_the_emergence_of_an_induction_head(history):
    previous, induction = history.scores.previous.max(axis=(1, 2)), history.scores.induction.max(axis=(1, 2))
    born = [int(np.argmax(scores > 0.3)) for scores in (previous, induction)]
    assert 0 < born[0] <= born[1], "the head that looks one back comes first, the other is built upon it"
    assert induction[: born[1]].max() < 0.15
    assert induction[born[1] + 1 :].min() > 0.5
    layer, _, score = _best(history.scores.induction[-1])
    assert (layer, score > 0.6) == (1, True)
    assert _best(history.scores.previous[-1])[0] == 0


def test_the_loss_falls_when_the_head_is_born(history):
    loss = dict(history.val_losses)
    induction = history.scores.induction.max(axis=(1, 2))
    born = int(np.argmax(induction > 0.3))
    before, after = history.steps[born - 1], history.steps[born + 2]
    falls = [loss[step] - loss[step + 20] for step in range(0, 580, 20)]
    assert before - 20 <= 20 * int(np.argmax(falls)) <= after
    assert loss[600] < 2 < 2.8 < loss[80]


def test_the_bundled_run_can_be_had_again(tmp_path):
    """Its first steps, done once more from its own settings."""
    bundled = find_run("repeat")
    folder = create_run(bundled.config, load_corpus("repeat"), path=tmp_path / "again")
    told = {record["step"]: record["loss"] for record in bundled.metrics() if record["kind"] == "step"}
    job = TrainingJob(folder)
    for _ in job.work():
        if job.trainer.step >= 12:
            job.request_stop()
    losses = {record["step"]: record["loss"] for record in folder.metrics() if record["kind"] == "step"}
    assert len(losses) >= 12
    for step, loss in losses.items():
        assert loss == pytest.approx(told[step], abs=2e-3)
    assert folder.meta["sha256"] == bundled.meta["sha256"]


def test_a_history_is_the_scores_of_each_step():
    folder = find_run("repeat")
    history = head_history(folder, length=5, num_texts=1)
    assert history.steps == tuple(folder.steps())
    model, tokenizer = (run := load_run("repeat", step=history.steps[2])).model, run.tokenizer
    ids = repeated_ids(range(4, tokenizer.vocab_size), 5, seed=0, bos_id=tokenizer.bos_id)
    scores = head_scores(attention_patterns(trace_forward(model, ids)), ids.numpy())
    np.testing.assert_allclose(history.scores.induction[2], scores.induction, rtol=1e-5)
    np.testing.assert_allclose(history.scores.first[2], scores.first, rtol=1e-5)


def test_a_history_can_be_cancelled_and_needs_weights(tmp_path):
    with pytest.raises(CancelledError):
        head_history(find_run("repeat"), cancelled=lambda: True)
    with pytest.raises(RunNotFoundError, match="no weights"):
        head_history(RunStore().create(RunConfig(), path=tmp_path / "new"))


def _best(scores: np.ndarray) -> tuple[int, int, float]:
    layer, head = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(layer), int(head), float(scores[layer, head])
