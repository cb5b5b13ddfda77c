"""Which of the settings of generation count, and how they are read from text and configuration."""

import pytest

from minigpt.config import GenerationConfig
from minigpt.errors import SamplingError
from minigpt.generation.samplers import GreedySampler
from minigpt.generation.settings import GenerationSettings, parse_sampler, resolve_sampler
from minigpt.generation.truncation import MinPSampler, TopKSampler


def test_a_configuration_is_the_beginning_of_settings():
    config = GenerationConfig(max_new_tokens=7, top_k=3, stop="x")
    settings = GenerationSettings.from_config(config, seed=2, top_k=5)
    assert settings == GenerationSettings(max_new_tokens=7, top_k=5, stop=("x",), seed=2)


def test_nothing_given_is_greedy():
    resolved = resolve_sampler()
    assert isinstance(resolved.sampler, GreedySampler)
    assert resolved.notes == ()


def test_an_explicit_sampler_overrides_everything_and_says_so():
    mine = TopKSampler(2)
    resolved = resolve_sampler(mine, temperature=0.8, top_p=0.5)
    assert resolved.sampler is mine
    assert resolved.notes == (
        "temperature=0.8 has no effect: a sampler was given.",
        "top_p=0.5 has no effect: a sampler was given.",
    )


def test_truncation_comes_after_temperature():
    resolved = resolve_sampler(temperature=0.8, top_k=5, top_p=0.9, min_p=0.1)
    assert resolved.sampler.describe() == "temperature 0.8, top-k 5, top-p 0.9, min-p 0.1"
    assert resolve_sampler(top_k=5).sampler.describe() == "top-k 5"
    assert resolve_sampler(temperature=2).sampler.describe() == "temperature 2"


@pytest.mark.parametrize(
    ("given_settings", "notes"),
    [
        ({"temperature": 0, "top_k": 5}, ["top_k=5 has no effect: temperature 0 is greedy."]),
        ({"top_k": 1, "temperature": 2.0}, ["temperature=2 has no effect: top_k=1 is greedy."]),
        ({"top_p": 1.0, "temperature": 2.0}, ["top_p=1 has no effect: it keeps every token."]),
        ({"min_p": 0.0}, ["min_p=0 has no effect: it keeps every token."]),
    ],
)
def test_settings_without_effect_are_named(given_settings, notes):
    assert list(resolve_sampler(**given_settings).notes) == notes


def test_settings_that_do_not_count_are_still_checked():
    with pytest.raises(SamplingError):
        resolve_sampler(temperature=0, top_k=0)


def test_specs_are_read_in_the_order_they_are_written():
    assert parse_sampler("top_k=40, temperature=0.8").describe() == "top-k 40, temperature 0.8"
    assert isinstance(parse_sampler(" greedy "), GreedySampler)
    assert isinstance(parse_sampler("min_p=0.1"), MinPSampler)


@pytest.mark.parametrize(
    ("spec", "described"),
    [
        ("typical=0.9, top_n_sigma=1.5", "typical 0.9, top-n-sigma 1.5"),
        ("mirostat=3", "mirostat 3 bits"),
        ("mirostat=3:0.2", "mirostat 3 bits"),
        ("repetition_penalty=1.2:64", "repetition penalty 1.2"),
        ("frequency_penalty=-0.5,presence_penalty=0.5", "frequency penalty -0.5, presence penalty 0.5"),
        ("dry=0.8:1.75:2", "DRY 0.8"),
        ("bias=7:-2,ban=8:9,only=7:10", "bias on 1, ban of 2, only 2"),
    ],
)
def test_every_rule_can_be_written(spec, described):
    assert parse_sampler(spec).describe() == described


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        ("temperature=1,top_k=5", ["temperature 1 has no effect: it leaves everything as it is."]),
        ("dry=0", ["DRY 0 has no effect: it leaves everything as it is."]),
        ("top_k=1,top_p=0.5", ["top-p 0.5 has no effect: top-k 1 before it leaves one token."]),
        ("temperature=0,min_p=0", ["min-p 0 has no effect: temperature 0 (greedy) before it leaves one token."]),
        ("top_p=0.9,temperature=2", []),
    ],
)
def test_stages_without_effect_are_named(spec, notes):
    assert list(resolve_sampler(parse_sampler(spec)).notes) == notes


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "warm",
        "top_k=4:5",
        "mirostat=1:0.1:2",
        "ban",
        "only=x",
        "bias=3",
        "top_k",
        "top_k=",
        "temperature=hot",
        "greedy,top_k=2",
        "beam=4",
    ],
)
def test_other_specs_are_refused(spec):
    with pytest.raises(SamplingError, match="no sampling rule"):
        parse_sampler(spec)


def test_a_rule_with_an_impossible_value_says_what_is_possible():
    with pytest.raises(SamplingError, match=r"top_k is 1\.5; it must be a whole number from 1 up"):
        parse_sampler("top_k=1.5")
