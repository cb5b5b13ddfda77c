"""The mask experiment: what ships can be made again, and the file is what the script writes."""

import json
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import CorpusError
from minigpt.runs.experiments import MASK_RESULT, MaskExperiment, mask_settings, shipped_mask_experiment
from tools import make_mask_experiment as script
from tools.make_mask_experiment import mask_experiment

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
    # The same weights and windows: before anything is learned, the mask alone makes a small difference.
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


def test_the_file_is_what_the_script_writes(tmp_path, monkeypatch) -> None:
    shipped = shipped_mask_experiment()
    monkeypatch.setattr(script, "mask_experiment", lambda: shipped)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    script.main(str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_bytes() == resources.asset_path(MASK_RESULT).read_bytes()
    assert MaskExperiment.from_dict(json.loads((tmp_path / "out.json").read_text("utf-8"))) == shipped
