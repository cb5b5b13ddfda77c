"""Sampling settings at and beyond the ends of their ranges: the result is the limit that they approach."""

from __future__ import annotations

import itertools

import pytest
import torch

from minigpt.generation.generator import TextGenerator
from minigpt.generation.samplers import GreedySampler, SamplerChain, TemperatureSampler
from minigpt.generation.settings import GenerationSettings
from minigpt.generation.truncation import TopKSampler
from minigpt.runs.loading import Run, load_run

V = 7
LOGITS = torch.tensor([[2.0, -1.0, 0.5, 1.9, -30.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 900.0]])
TOP_KS = (V - 1, V, V + 1, 100_000, 10**30)
COLD = (1e-4, 1e-9, 1e-30, 1e-300, 5e-324)
HOT = (100.0, 1e9, 1e30, 1e308)


@pytest.fixture(scope="module")
def tales() -> Run:
    return load_run("tales")


def probabilities(*samplers: object) -> torch.Tensor:
    """Return the probabilities (2, V) that a chain of samplers gives the tokens."""
    logits, _ = SamplerChain(list(samplers)).process(LOGITS.clone(), torch.zeros(2, 1, dtype=torch.int64), None)  # type: ignore[arg-type]
    return logits.softmax(-1)


@pytest.mark.parametrize("k", TOP_KS)
def test_top_k_beyond_the_vocabulary_keeps_every_token(k: int) -> None:
    """From the size of the vocabulary on, nothing is removed; one below it, the least likely token is."""
    kept = probabilities(TopKSampler(k))
    if k >= V:
        assert torch.equal(kept, LOGITS.double().softmax(-1))
    else:
        assert (kept > 0).sum(-1).tolist()[0] == k


@pytest.mark.parametrize("temperature", [0, *COLD])
def test_cold_is_greedy_and_finite(temperature: float) -> None:
    """All probability is on the most likely token, also where dividing by the temperature would overflow."""
    found = probabilities(TemperatureSampler(temperature))
    assert found.isfinite().all()
    assert found.argmax(-1).tolist() == [0, 6]
    if temperature < 1e-3:
        assert found.max(-1).values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("temperature", HOT)
def test_hot_is_even_and_finite(temperature: float) -> None:
    """The probabilities approach 1 / V."""
    found = probabilities(TemperatureSampler(temperature))
    assert found.isfinite().all()
    even = torch.full((V,), 1 / V, dtype=torch.float64)
    torch.testing.assert_close(found[0], even, atol=6 / temperature + 1e-12, rtol=0)


@pytest.mark.parametrize("temperature", [0, *COLD])
def test_a_cold_text_is_the_greedy_text(tales: Run, temperature: float) -> None:
    """Whatever else is set, and whatever the seed is."""
    generator = TextGenerator(tales)
    greedy = generator.generate("Once ", max_new_tokens=15, sampler=GreedySampler()).text
    for seed, more in itertools.product((0, 1), ({}, {"top_k": 100_000}, {"top_p": 0.9}, {"min_p": 0.1})):
        text = generator.generate("Once ", max_new_tokens=15, temperature=temperature, seed=seed, **more).text
        assert text == greedy


@pytest.mark.parametrize("temperature", [1.0, *HOT])
def test_top_k_beyond_the_vocabulary_changes_no_text(tales: Run, temperature: float) -> None:
    """The same random numbers choose the same tokens as without top-k."""
    generator, size = TextGenerator(tales), tales.tokenizer.vocab_size
    texts = {
        generator.generate("Once ", GenerationSettings(max_new_tokens=15, temperature=temperature, top_k=k)).text
        for k in (None, size, size + 1, 100_000, 10**30)
    }
    assert len(texts) == 1
