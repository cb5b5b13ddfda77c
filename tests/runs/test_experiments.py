"""Experiments: what ships can be had again, and tells what it is shipped for."""

import json
from concurrent.futures import CancelledError

import numpy as np
import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text, load_corpus
from minigpt.errors import CorpusError, RunNotFoundError
from minigpt.interpret.heads import attention_patterns, head_scores, repeated_ids
from minigpt.interpret.trace import trace_forward
from minigpt.runs.experiments import (
    MaskExperiment,
    head_history,
    mask_experiment,
    mask_settings,
    shipped_mask_experiment,
)
from minigpt.runs.job import TrainingJob, create_run
from minigpt.runs.store import find_run, load_run

TINY = RunConfig().updated(
    {
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.d_model": 16,
        "model.sequence_length": 8,
        "training.max_steps": 6,
        "training.batch_size": 4,
        "training.eval_steps": 3,
        "training.num_threads": 1,
    }
)
CORPUS = corpus_from_text("once upon a time there was a bear. " * 20, name="bear")


# -- with and without the mask


def test_two_trainings_differ_in_the_mask_alone():
    told = []
    experiment = mask_experiment(
        TINY, CORPUS, prompt="once", num_tokens=5, progress=lambda done, total: told.append((done, total))
    )
    masked, unmasked = experiment.masked, experiment.unmasked
    assert (masked.causal, unmasked.causal) == (True, False)
    assert len(masked.losses) == len(unmasked.losses) == 6
    assert [step for step, _ in masked.val_losses] == [0, 3, 6]
    assert len(masked.text) == len(unmasked.text) == 5
    # The same weights and the same windows: before anything is learned, only what is looked at differs a little.
    assert masked.losses[0] == pytest.approx(unmasked.losses[0], abs=0.01)
    assert masked.losses != unmasked.losses
    assert told == [(step, 12) for step in range(1, 13)]


def test_a_shortened_experiment_is_the_beginning_of_the_whole():
    whole = mask_experiment(TINY, CORPUS, prompt="once", num_tokens=1)
    short = mask_experiment(TINY, CORPUS, prompt="once", num_tokens=1, stop_step=2)
    assert short.masked.losses == whole.masked.losses[:2]
    assert short.unmasked.losses == whole.unmasked.losses[:2]


def test_an_experiment_survives_json():
    experiment = mask_experiment(TINY, CORPUS, prompt="once", num_tokens=1, stop_step=1)
    assert MaskExperiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment


def test_an_experiment_can_be_cancelled_and_says_what_is_too_short():
    with pytest.raises(CancelledError):
        mask_experiment(TINY, CORPUS, cancelled=lambda: True)
    with pytest.raises(CorpusError):
        mask_experiment(TINY, corpus_from_text("ab", name="short"))


def test_the_shipped_result_can_be_had_again():
    """The first steps, done once more; rounding differs a little from processor to processor."""
    shipped = shipped_mask_experiment()
    assert RunConfig.model_validate(shipped.settings) == mask_settings()  # whatever settings were added since
    again = mask_experiment(stop_step=15, num_tokens=1)
    for course, told in ((again.masked, shipped.masked), (again.unmasked, shipped.unmasked)):
        np.testing.assert_allclose(course.losses, told.losses[:15], atol=2e-3)
    assert again.num_parameters == shipped.num_parameters


def test_the_shipped_result_tells_that_the_loss_collapses_without_the_mask():
    shipped = shipped_mask_experiment()
    assert shipped.unmasked.val_losses[-1][1] < 0.2
    assert shipped.masked.val_losses[-1][1] > 1
    assert len(shipped.masked.losses) == shipped.settings["training"]["max_steps"]


# -- the birth of an induction head


@pytest.fixture(scope="module")
def history():
    return head_history(find_run("repeat"))


def test_the_bundled_run_shows_the_birth_of_an_induction_head(history):
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
        head_history(create_run(TINY, CORPUS, path=tmp_path / "new"))


def _best(scores: np.ndarray) -> tuple[int, int, float]:
    layer, head = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(layer), int(head), float(scores[layer, head])
