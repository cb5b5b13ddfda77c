from __future__ import annotations

import json

import pytest

TINY = [
    "--set=model.d_model=16",
    "--set=model.num_layers=1",
    "--set=model.sequence_length=8",
    "--set=data.corpus=addition",
]


def test_four_speeds_are_measured(call, own_home) -> None:
    told = json.loads(call("bench", "nano", *TINY, "--seconds=0.1", "--device=cpu", "--json").stdout)
    for what in ("train", "generate", "generate_batch", "evaluate"):
        assert told[f"{what}_tokens_per_second"] > 0
    assert told["train_tokens_per_second"] * told["seconds_per_step"] == pytest.approx(16 * 8)
    assert told["device"] == "cpu"
    assert not own_home.exists()


def test_settings_that_cannot_be_are_refused_before_anything_is_measured(call) -> None:
    assert "there is no setting" in call("bench", "--set=zzz=1", code=2).stderr
    assert "no preset 'gigantic'" in call("bench", "gigantic", code=2).stderr
    assert "memory" in call("bench", "--set=model.d_model=16384", "--set=model.num_layers=64", code=2).stderr
