"""The cost of a step: the fit finds the constants that made the times, and a step can be tried and cancelled."""

from concurrent.futures import CancelledError

import numpy as np
import pytest

from minigpt.config import RunConfig
from minigpt.runs.step_cost import KINDS, SHAPES, MachineConstants, fit_constants, measure_step, work_of

TINY = RunConfig().updated(
    {"model.num_layers": 1, "model.num_heads": 1, "model.d_model": 8, "model.sequence_length": 8}
    | {"training.batch_size": 2, "training.num_threads": 1}
)


def shaped(layers, heads, width, context, batch, **changes):
    return RunConfig().updated(
        {"model.num_layers": layers, "model.num_heads": heads, "model.d_model": width, "model.sequence_length": context}
        | {"training.batch_size": batch, **changes}
    )


def test_the_constants_of_a_machine_are_found_from_times_that_they_made():
    true = MachineConstants((2e-3, 7e-4, 1e-11, 1e-9, 3e-9, 3e-10))
    configs = [(shaped(*shape[:5]), shape[5]) for shape in SHAPES]
    chance = np.random.Generator(np.random.PCG64(1))
    noisy = [true.predict(config, vocab) * chance.uniform(0.97, 1.03) for config, vocab in configs]
    found = fit_constants([work_of(config, vocab) for config, vocab in configs], noisy)
    assert len(found.seconds) == len(KINDS)
    assert min(found.seconds) >= 0
    for config, vocab in [(shaped(3, 2, 48, 64, 16), 100), (shaped(5, 8, 128, 32, 8, **{"model.d_ff": 0}), 500)]:
        assert found.predict(config, vocab) == pytest.approx(true.predict(config, vocab), rel=0.1)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"model.num_layers": 6}, "layers"),
        ({"model.d_ff": 1024}, "matrices"),
        ({"model.attention_window": 16}, "scores"),
        ({"model.tie_embeddings": False}, "parameters"),
        ({"training.accumulation_steps": 4}, "layers"),
        ({"training.optimizer": "muon"}, "matrices"),
        ({"training.batch_size": 32}, "numbers"),
    ],
    ids=str,
)
def test_settings_change_the_work_that_they_cause(changes, kind):
    before, after = (work_of(RunConfig().updated(each), 100) for each in ({}, changes))
    index = KINDS.index(kind)
    assert (after[index] < before[index]) == ("model.attention_window" in changes)
    assert after[index] != before[index]


def test_a_step_is_tried_and_can_be_cancelled():
    assert 0 < measure_step(TINY, 10, seconds=0.0) < 60
    with pytest.raises(CancelledError):
        measure_step(TINY, 10, cancelled=lambda: True)
