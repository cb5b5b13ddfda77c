"""Names of settings are replaced by the labels on the page."""

from __future__ import annotations

import pytest

from minigpt import config
from minigpt.app.ui.messages import error_words, in_words, label_of
from minigpt.config import RunConfig
from minigpt.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Lower model.d_model or model.num_layers.", "Lower “Width” or “Layers”."),
        ("d_model 30 / num_heads 4", "“Width” 30 / “Heads in each layer” 4"),
        ("rotary positions, a norm, a seed", "rotary positions, a norm, a seed"),  # ordinary English words
        ("max_steps_of_mine and my.max_steps", "max_steps_of_mine and my.max_steps"),
        ("a tenth of max_steps, at most 100", "a tenth of “Steps”, at most 100"),
    ],
)
def test_names_in_code_become_labels(text, said):
    assert in_words(text) == said


def test_an_error_uses_the_labels_of_the_page():
    with pytest.raises(ConfigError) as caught:
        RunConfig().updated({"training.warmup_steps": 2000}, source="These settings")
    problem, mend = error_words(caught.value)
    assert problem.startswith("These settings: “Warm-up steps” 2000 is more than “Steps” 1000")
    assert mend == "Change one of them."
    with pytest.raises(ConfigError) as caught:
        RunConfig().updated({"training.batch_size": 0}, source="These settings")
    problem, mend = error_words(caught.value)
    assert "“Windows in a step” is 0; it must be a whole number, at least 1" in problem
    assert mend == "Correct it; the default is 16."


@pytest.mark.parametrize("dotted", config.dotted_fields())
def test_every_setting_has_a_label(dotted):
    assert label_of(dotted)
    if "." in dotted:
        assert in_words(f"Set {dotted} to something.") == f"Set “{label_of(dotted)}” to something."
