"""The shipped trainings with parts taken away: the same settings, and a few steps repeated."""

import pytest

from minigpt.errors import InputError
from minigpt.runs import parts
from minigpt.runs.parts import BASE, CHANGES, POSITIONS, parts_settings, shipped_parts_experiment
from tools.make_parts_experiment import parts_experiment


def test_the_settings_are_those_of_the_module():
    found = shipped_parts_experiment()
    assert found.settings == parts_settings(found.corpus).model_dump(mode="json")
    assert {name: result.changes for name, result in found.results.items()} == CHANGES
    assert {len(losses) for losses in found.by_position.values()} == {4 * found.trained_length}


def test_a_short_repetition_has_the_same_models(monkeypatch):
    """A whole one takes minutes; the text of the corpus may have changed since, so losses are not compared."""
    shipped = shipped_parts_experiment()
    few = {name: CHANGES[name] for name in (BASE, "no_feedforward")}
    monkeypatch.setattr("tools.make_parts_experiment.CHANGES", few)
    monkeypatch.setattr("tools.make_parts_experiment.POSITIONS", ("rotary",))
    monkeypatch.setattr("tools.make_parts_experiment.NUM_TOKENS", 3)
    made = parts_experiment(shipped.corpus, stop_step=1)
    assert list(made.results) == list(few)
    assert list(made.by_position) == ["rotary"]
    blocks = {result.num_parameters for result in made.results.values()}
    assert len(blocks) == 2
    assert type(made).from_dict(made.to_dict()) == made
    assert len(POSITIONS) == 5


def test_another_corpus_is_refused_by_name():
    with pytest.raises(InputError, match="no built-in corpus poems"):
        parts.parts_settings("poems")
