"""Penalties on repetition and rules that name tokens, against slow oracles, hand-worked numbers and published cases."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import SamplingError
from minigpt.generation.constraints import AllowedTokens, BannedTokens, LogitBias
from minigpt.generation.penalties import (
    DRYPenalty,
    FrequencyPenalty,
    PresencePenalty,
    RepetitionPenalty,
    repeated_lengths,
)
from minigpt.generation.samplers import Sampler, SamplerChain

V = 5
TEXTS = st.lists(st.integers(0, V - 1), max_size=14)
WINDOWS = st.one_of(st.none(), st.integers(1, 20))
LOGITS = st.lists(st.sampled_from([-3.0, 0.0, 0.5, 2.0, -math.inf]), min_size=V, max_size=V)


def processed(sampler: Sampler, logits: list[float], ids: list[int]) -> list[float]:
    after, _ = sampler.process(torch.tensor(logits, dtype=torch.float64), torch.tensor(ids, dtype=torch.int64))
    return after.tolist()


@given(LOGITS, TEXTS, WINDOWS, st.floats(0.1, 10))
def test_penalties_on_single_tokens_agree_with_a_loop(logits, text, window, penalty):
    newest = text if window is None else text[-window:]
    counts = [newest.count(i) for i in range(V)]
    scaled = [(x / penalty if x > 0 else x * penalty) if n else x for x, n in zip(logits, counts, strict=True)]
    assert processed(RepetitionPenalty(penalty, window), logits, text) == pytest.approx(scaled)
    lowered = [x - penalty * n for x, n in zip(logits, counts, strict=True)]
    assert processed(FrequencyPenalty(penalty, window), logits, text) == pytest.approx(lowered)
    once = [x - penalty * min(n, 1) for x, n in zip(logits, counts, strict=True)]
    assert processed(PresencePenalty(penalty, window), logits, text) == pytest.approx(once)


def slow_lengths(text: list[int], breakers: frozenset[int]) -> dict[int, int]:
    """Try every earlier place of every token."""
    lengths: dict[int, int] = {}
    for place, token in enumerate(text):
        length = 0
        while length < place and text[place - 1 - length] == text[-1 - length] and text[-1 - length] not in breakers:
            length += 1
        if token not in breakers and length > lengths.get(token, 0):
            lengths[token] = length
    return lengths


@given(TEXTS, st.frozensets(st.integers(0, V - 1), max_size=2))
def test_the_length_of_a_repetition_agrees_with_trying_every_place(text, breakers):
    assert repeated_lengths(text, breakers) == slow_lengths(text, breakers)


@pytest.mark.parametrize(
    ("num_tokens", "text", "expected", "sampler"),
    [
        (4, [0, 1], [0.25] * 4, DRYPenalty(1.0, 1.1, 2)),
        (4, [0, 1, 2, 0, 1], [0.296923, 0.296923, 0.109232, 0.296923], DRYPenalty(1.0, 1.1, 2)),
        (5, [0, 1, 3, 4, 0, 1], [0.2] * 5, DRYPenalty(1.0, 1.1, 2, breakers=[3])),
        (5, [0, 1, 2, 0, 1], [0.241818, 0.241818, 0.032727, 0.241818, 0.241818], DRYPenalty(2.0, 1.1, 2)),
        (5, [0, 1, 2, 3, 4, 0, 1], [0.2] * 5, DRYPenalty(1.0, 1.1, 4)),
        (5, [0], [0, 0.25, 0.25, 0.25, 0.25], RepetitionPenalty(50)),
        (5, [0, 1, 2, 0, 0], [0, 0, 0, 0.5, 0.5], RepetitionPenalty(50)),
        (5, [0], [0.000011] + [0.249997] * 4, SamplerChain([FrequencyPenalty(5), PresencePenalty(5)])),
        (5, [0, 1, 2], [0.000023] * 3 + [0.499966] * 2, SamplerChain([FrequencyPenalty(5), PresencePenalty(5)])),
        (5, [0, 1, 2, 0, 0], [0, 0.000023, 0.000023] + [0.499977] * 2, SamplerChain([FrequencyPenalty(5), PresencePenalty(5)])),
    ],
)  # fmt: skip
def test_the_cases_that_other_engines_publish(num_tokens, text, expected, sampler):
    logits = torch.full((num_tokens,), 1 / num_tokens).log()
    after, _ = sampler.process(logits, torch.tensor(text))
    assert torch.softmax(after, -1).tolist() == pytest.approx(expected, abs=1e-5)


def test_dry_grows_exponentially_and_never_overflows():
    text = [0, 1, 2, 3] * 2 + [0, 1, 2]
    assert processed(DRYPenalty(0.8, 1.75, 2), [0.0] * V, text)[3] == pytest.approx(-0.8 * 1.75**5)
    assert processed(DRYPenalty(0.8, 1e300, 2), [0.0] * V, text)[3] == -math.inf


RULES = [RepetitionPenalty(1.3), FrequencyPenalty(0.7), PresencePenalty(0.7), DRYPenalty(1.0, 1.5, 1),
         LogitBias({1: 2.0, 3: -1.0}), BannedTokens([0]), AllowedTokens([1, 2])]  # fmt: skip


@pytest.mark.parametrize("sampler", RULES, ids=lambda sampler: sampler.describe())
def test_padding_is_no_token_and_a_row_is_treated_as_in_a_batch(sampler):
    logits = torch.randn(3, V, generator=torch.Generator().manual_seed(1))
    texts = [[1, 2, 1, 2], [3, 3], [4]]
    padded = torch.tensor([[-1] * (4 - len(text)) + text for text in texts])
    batch, _ = sampler.process(logits, padded)
    for row, text in enumerate(texts):
        alone, _ = sampler.process(logits[row], torch.tensor(text))
        assert torch.equal(alone, batch[row])
    without, _ = sampler.process(logits)
    assert without.shape == logits.shape


@given(st.permutations(range(V)), TEXTS)
def test_another_order_of_the_vocabulary_changes_only_the_order(order, text):
    logits = [0.3, -1.0, 2.0, 0.0, 1.1]
    place = {token: i for i, token in enumerate(order)}
    for build in (lambda: RepetitionPenalty(1.3), lambda: FrequencyPenalty(0.7), lambda: DRYPenalty(1.0, 1.5, 1)):
        plain = processed(build(), logits, text)
        permuted = processed(build(), [logits[i] for i in order], [place[token] for token in text])
        assert permuted == pytest.approx([plain[i] for i in order])


def test_a_rule_that_leaves_nothing_says_so():
    logits = torch.zeros(3)
    with pytest.raises(SamplingError, match="leaves no token that can be written"):
        BannedTokens(range(3)).process(logits)
    forbidden, _ = BannedTokens([1]).process(logits)
    with pytest.raises(SamplingError, match="leaves no token that can be written"):
        AllowedTokens([1]).process(forbidden)


@pytest.mark.parametrize("rule", [LogitBias({7: 1.0}), BannedTokens([7]), AllowedTokens([1, 7])])
def test_a_token_beyond_the_vocabulary_is_refused(rule):
    with pytest.raises(SamplingError, match="names token 7, but the vocabulary ends at token 2"):
        rule.process(torch.zeros(3))


@pytest.mark.parametrize(
    "build",
    [
        lambda: RepetitionPenalty(0), lambda: RepetitionPenalty(math.inf), lambda: RepetitionPenalty(2, 0),
        lambda: FrequencyPenalty(math.nan), lambda: PresencePenalty(math.inf), lambda: PresencePenalty(1, 1.5),
        lambda: DRYPenalty(-1), lambda: DRYPenalty(1, 0.5), lambda: DRYPenalty(1, 2, 0), lambda: BannedTokens([]),
        lambda: AllowedTokens([-1]), lambda: LogitBias({}), lambda: LogitBias({1: math.inf}),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(build):
    with pytest.raises(SamplingError, match="it must be"):
        build()
