"""The lab of the key/value cache: what is measured, what the cache holds, what a token costs, and the page."""

from __future__ import annotations

import json

import pytest
import torch

from minigpt.app.sampling import cache_view as view
from minigpt.app.sampling.cache_view import Lab, TimedToken
from minigpt.app.session import models, profile
from minigpt.app.texts import t
from minigpt.model.size import size_map

PAGE = "use/sampling"
VARIANTS = [
    {},
    {"num_kv_heads": 1},
    {"convolution": 3},
    {"num_layers": 1, "num_heads": 4, "d_model": 24},
    {"positions": "alibi"},
    {"attention_window": 4},
]


def never() -> bool:
    return False


def measured(run, prompt: str = "the cat", length: int = 30, seconds: float = 9) -> Lab:
    lab = Lab(prompt, length)
    while not lab.is_over:
        lab.advance(run, never, seconds=seconds)
    return lab


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_both_ways_write_one_text_past_the_context_and_the_numbers_are_those_of_the_model(untrained, variant):
    run = untrained(**variant)
    lab = measured(run)
    assert lab.first_difference is None
    assert len(run.tokenizer.encode(lab.text)) == len(lab.tokens) == 30
    assert all(token.with_cache >= 0 and token.without > 0 for token in lab.tokens)
    seen, held = 7, 0
    for token in lab.tokens:
        is_full = seen > 16
        seen -= 8 * is_full
        assert token.is_full == is_full
        assert token.read_without == seen
        assert token.read_with == (seen if is_full or not held else 1)
        assert token.held == seen
        held, seen = seen, seen + 1


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_bytes_are_those_of_the_cache(untrained, variant):
    model = untrained(**variant).model
    shape, cache = view.shape_of(model.config, 4), model.make_cache()
    tensors = [*cache.memory.keys, *cache.memory.values, *cache.memory.before]
    assert shape.num_bytes(cache.capacity) == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert shape.num_bytes(3) == 3 * shape.per_position + shape.beside


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_cost_is_that_of_the_whole_model(untrained, variant):
    model = untrained(**variant).model
    cost = view.cost_of(model.config, model.vocab_size)
    assert cost.with_cache(16) == sum(part.flops for part in size_map(model.config, model.vocab_size))
    for positions in (1, 5, 16):
        assert cost.without(positions) == positions * cost.with_cache(positions)
    assert cost.with_cache(2) - cost.with_cache(1) == 4 * model.config.num_layers * model.config.d_model


def test_slices_measure_what_one_piece_measures(untrained):
    run = untrained()
    whole, sliced = measured(run, seconds=100), measured(run, seconds=0)
    assert whole.text == sliced.text
    assert [token[2:] for token in whole.tokens] == [token[2:] for token in sliced.tokens]


def test_a_measurement_can_be_stopped_interrupted_and_ended(untrained, monkeypatch):
    run, lab = untrained(), Lab("the cat", 30)
    lab.advance(run, never, seconds=0)
    assert 0 < len(lab.tokens) < 30
    lab.advance(run, lambda: True, seconds=9)
    done = len(lab.tokens)
    lab.is_stopped = True
    lab.advance(run, never, seconds=9)
    assert len(lab.tokens) == done
    assert lab.is_over
    assert t("sampling.cache_stopped", done=done, total=30) in view.progress_words(lab)
    monkeypatch.setattr(view, "MOST_SECONDS", 0.0)
    lab = measured(run)
    assert lab.is_late
    assert len(lab.tokens) == 0
    assert "Ended after 0 seconds" in view.progress_words(lab)


def test_without_a_causal_mask_nothing_is_kept_and_the_page_says_so(untrained):
    lab = measured(untrained(causal=False))
    assert {token.held for token in lab.tokens} == {0}
    assert all(token.read_with == token.read_without for token in lab.tokens)
    assert view.sentences(lab) == [t("sampling.cache_see_no_cache")]


def test_a_text_that_differs_is_said(untrained, monkeypatch):
    run = untrained()

    seen: list[int] = []

    def choose(scores, sampler, special, n):
        seen.append(n)
        return 6 if n == 5 and seen.count(5) == 2 else 5  # the second way differs at its sixth token

    monkeypatch.setattr(view, "_choose", choose)
    lab = measured(run, length=9)
    assert lab.first_difference == 6
    assert "From token 6 on the two texts differ" in view.same_words(lab)


def test_sentences_by_hand():
    lab = Lab("", 2)
    lab.shape = view.CacheShape(2, 3, 4, 16, 4, 0, True)
    assert view.sentences(lab) == [t("sampling.cache_see_nothing")]
    lab.tokens = [TimedToken(0.001, 0.002, 1, 5, 5, False), TimedToken(0.003, 0.010, 9, 9, 9, True)]
    said = " ".join(view.sentences(lab))
    assert "**2 ms** with the cache and **6 ms** without it" in said
    assert "**4 ms** with the cache and **12 ms** without it: **3.0** times" in said
    assert "Before token 2 the context of 16 positions was full" in said
    assert "2 blocks × 2 (keys and values) × 3 heads × 4 numbers × 4 bytes = **192** bytes" in view.holds_words(
        lab.shape, 5
    )
    assert "**960 B**" in view.holds_words(lab.shape, 5)


# ---- the page


@pytest.fixture
def run_id(pages):
    models.reset()
    return pages.trained()


def lab_of(at) -> Lab:
    return at.session_state["sampling:cache_lab"][1]


def finish(at):
    """Let the page measure to the end; a browser would call it again and again."""
    for _ in range(200):
        if lab_of(at).is_over:
            break
        at.run()
    at.run()
    assert not at.exception, at.exception
    assert not at.error


@pytest.fixture
def at(pages, run_id):
    at = pages.open(PAGE, run=run_id)
    at.button_group(key="sampling:view").set_value("cache").run()
    return at


def test_the_page_measures_and_says_what(pages, at, monkeypatch):
    finish(at)
    words = pages.words(at)
    assert "Both ways wrote the same text, all 256 tokens of it" in words
    assert lab_of(at).text in [code.value for code in at.code]
    assert "1 block × 2 (keys and values) × 2 heads × 8 numbers × 4 bytes = **128** bytes" in words
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    assert len(charts[0]["data"][0]["x"]) == 256
    kept = lab_of(at)
    at.button_group(key="sampling:view").set_value("side").run()
    at.button_group(key="sampling:view").set_value("cache").run()
    assert lab_of(at) is kept
    monkeypatch.setattr(view, "SLICE_SECONDS", 0.0)
    at.button(key="sampling:cache_try_0").click().run()
    assert lab_of(at).length == 384
    at.button(key="sampling:cache_stop").click().run()
    assert lab_of(at).is_stopped
    assert "Stopped by you" in str(at.get("progress")[0].proto.text)
    at.button(key="sampling:cache_again").click().run()
    assert lab_of(at).length == 384
    assert not lab_of(at).is_stopped


@pytest.mark.parametrize("prompt", ["", "<b>*x*</b> é日", "the cat " * 40])
def test_any_prompt_is_measured(at, run_id, prompt):
    at.select_slider(key="sampling:cache_length").set_value(64).run()
    at.text_input(key=f"sampling:prompt_{run_id}").set_value(prompt).run()
    finish(at)
    assert len(lab_of(at).tokens) == 64


def test_the_length_stays_within_the_limits(pages, run_id, monkeypatch):
    small = profile.limits().model_copy(update={"max_new_tokens": 60})
    monkeypatch.setattr(profile, "limits", lambda: small)
    at = pages.open(PAGE, run=run_id)
    at.button_group(key="sampling:view").set_value("cache").run()
    assert lab_of(at).length == 60


def test_torch_is_left_as_it_was(untrained):
    run = untrained()
    run.model.train()
    measured(run, length=3)
    assert run.model.training
    assert torch.is_grad_enabled()
