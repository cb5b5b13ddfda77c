import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.errors import SamplingError, ShapeError
from minigpt.generation.constraints import BannedTokens
from minigpt.generation.penalties import RepetitionPenalty
from minigpt.generation.samplers import GreedySampler, Sampler, SamplerChain, TemperatureSampler, draw
from minigpt.generation.truncation import (
    TOLERANCE,
    MinPSampler,
    MirostatSampler,
    TopKSampler,
    TopNSigmaSampler,
    TopPSampler,
    TypicalSampler,
)

# few distinct values, so that ties are frequent
LOGITS = st.lists(
    st.sampled_from([-3.0, -1.0, 0.0, 0.5, 0.5000001, 2.0, 7.0, -math.inf]), min_size=1, max_size=12
).filter(lambda values: max(values) > -math.inf)
SAMPLERS = [GreedySampler(), TemperatureSampler(0), TemperatureSampler(0.7), TopKSampler(3), TopPSampler(0.6), MinPSampler(0.2),
            TypicalSampler(0.7), TopNSigmaSampler(1.0), MirostatSampler(2.0),
            SamplerChain([TemperatureSampler(1.4), TopKSampler(4), TopPSampler(0.8)])]  # fmt: skip


def kept(sampler: Sampler, logits: list[float]) -> list[int]:
    """Return the ids of the tokens that a sampler kept."""
    processed, _ = sampler.process(torch.tensor(logits, dtype=torch.float64))
    return [i for i, value in enumerate(processed.tolist()) if value > -math.inf]


def ranked(logits: list[float]) -> list[int]:
    """Return the ids of tokens with a probability, most likely first, equal ones by id: the slow, obvious way."""
    return sorted((i for i, value in enumerate(logits) if value > -math.inf), key=lambda i: (-logits[i], i))


def probabilities(logits: list[float]) -> list[float]:
    weights = [math.exp(value - max(logits)) for value in logits]
    return [weight / math.fsum(weights) for weight in weights]


# --- draw ---


def test_draw_by_hand():
    probs = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).repeat(6, 1)
    assert draw(probs, [0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-53]).tolist() == [0, 0, 2, 2, 3, 3]


@given(st.lists(st.sampled_from([0.0, 0.0, 1e-300, 1e-9, 0.1, 1.0, 3.0]), min_size=1, max_size=9), st.floats(0, 1))
def test_draw_never_takes_the_impossible_and_agrees_with_a_loop(weights, u):
    if sum(weights) == 0:
        with pytest.raises(SamplingError):
            draw(torch.tensor([weights], dtype=torch.float64), [u])
        return
    token = draw(torch.tensor([weights], dtype=torch.float64), [u]).item()
    assert weights[token] > 0
    border, expected = 0.0, None
    for i, weight in enumerate(weights):
        border += weight
        if border > u * sum(weights) and expected is None:
            expected = i
    if expected is not None:  # None only where u is 1
        assert token == expected


@pytest.mark.parametrize("u", [1 - 2**-53, 1.0])
def test_the_highest_dice_skip_a_tail_without_probability(u):
    assert draw(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), [u]).item() == 1


def test_draw_refuses_what_is_not_a_number():
    with pytest.raises(SamplingError, match="not a number"):
        draw(torch.tensor([[0.5, math.nan]]), [0.1])


def test_tokens_are_drawn_as_often_as_probable():
    probs = torch.tensor([[0.1, 0.6, 0.3]]).repeat(1000, 1)
    counts = torch.bincount(draw(probs, [(i + 0.5) / 1000 for i in range(1000)]), minlength=3)
    assert counts.tolist() == [100, 600, 300]


# --- the rules, against slow oracles ---


@given(LOGITS)
def test_greedy_keeps_the_lowest_id_among_the_likeliest(logits):
    assert kept(GreedySampler(), logits) == ranked(logits)[:1] == kept(TemperatureSampler(0), logits)


@given(LOGITS, st.integers(1, 15))
def test_top_k_keeps_exactly_k_and_the_lowest_ids_among_equals(logits, k):
    assert kept(TopKSampler(k), logits) == sorted(ranked(logits)[:k])


@given(LOGITS, st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(1e-12, 1)))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    left, probs = kept(TopPSampler(p), logits), probabilities(logits)
    order = ranked(logits)
    assert left
    assert left == sorted(order[: len(left)])  # the likeliest, equals by id
    assert math.fsum(probs[i] for i in left) >= p - 2 * TOLERANCE
    if p < 1:
        assert len(left) == 1 or math.fsum(probs[i] for i in order[: len(left) - 1]) < p


@pytest.mark.parametrize(("p", "expected"), [(0.25, [0]), (0.5, [0, 1]), (0.500001, [0, 1, 2]), (0.75, [0, 1, 2])])
def test_top_p_at_the_border_of_equal_tokens(p, expected):
    assert kept(TopPSampler(p), [1.0, 1.0, 1.0, 1.0]) == expected


def test_top_p_at_a_border_that_float32_rounds():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    assert torch.isfinite(TopPSampler(0.8).process(logits)[0]).tolist() == [True, True, False]


def test_top_p_is_renormalised():
    probs = torch.softmax(TopPSampler(0.7).process(torch.tensor([0.5, 0.3, 0.2]).log())[0], -1)
    assert probs.tolist() == pytest.approx([0.625, 0.375, 0])


@given(LOGITS, st.floats(0, 1))
def test_min_p_keeps_what_is_likely_enough(logits, p):
    left, probs = kept(MinPSampler(p), logits), probabilities(logits)
    assert all((probs[i] >= p * max(probs) * (1 - 1e-6)) for i in left)
    assert all((probs[i] <= p * max(probs)) or logits[i] == -math.inf for i in set(range(len(logits))) - set(left))
    assert left


def test_temperature_by_hand():
    probs = torch.softmax(TemperatureSampler(0.5).process(torch.tensor([0.6, 0.3, 0.1]).log())[0], -1)
    assert probs.tolist() == pytest.approx([0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46], rel=1e-6)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30, 1e-6])
def test_tiny_temperatures_neither_overflow_nor_lose_the_likeliest(temperature):
    for dtype in (torch.float16, torch.float32):
        logits = torch.tensor([100.0, -6e4, 99.5], dtype=dtype)
        probs = torch.softmax(TemperatureSampler(temperature).process(logits)[0], -1)
        assert probs.tolist() == pytest.approx([1, 0, 0])
    assert GreedySampler().sample(logits).item() == TemperatureSampler(temperature).sample(logits).item()


@given(LOGITS)
def test_a_tiny_p_is_greedy(logits):
    assert kept(TopPSampler(1e-12), logits) == kept(GreedySampler(), logits) == kept(TopKSampler(1), logits)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.describe())
def test_a_row_and_a_batch_are_treated_alike_and_left_as_they_were(sampler):
    batch = torch.randn(5, 30, generator=torch.Generator().manual_seed(1))
    before = batch.clone()
    processed, _ = sampler.process(batch)
    for row in range(5):
        assert torch.equal(sampler.process(batch[row])[0], processed[row])
    assert torch.equal(batch, before)
    single = sampler.sample(batch[0], seed=3, position=7)
    assert single.shape == ()
    assert single.dtype == torch.int64
    assert single == sampler.sample(batch, seed=3, position=7)[0]
    assert sampler.sample(batch[:2], seed=3).tolist() == sampler.sample(batch, seed=3)[:2].tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 0.999))
def test_a_large_vocabulary_gives_what_full_sorting_gives(seed, p):
    logits = torch.randn(50_000, generator=torch.Generator().manual_seed(seed)) * 3
    probs = torch.softmax(logits.double(), -1)
    ordered, order = probs.sort(descending=True, stable=True)
    count = int((ordered.cumsum(-1) < p - TOLERANCE).sum()) + 1
    left = torch.isfinite(TopPSampler(p).process(logits)[0]).nonzero().flatten()
    assert left.tolist() == sorted(order[:count].tolist())


def test_sampling_follows_the_seed_and_the_position():
    logits = torch.zeros(1000)
    sampler = TemperatureSampler(1)
    assert sampler.sample(logits, seed=1) == sampler.sample(logits, seed=1)
    assert len({int(sampler.sample(logits, seed=1, position=n)) for n in range(8)}) > 4


@pytest.mark.parametrize(
    "build",
    [
        lambda: TemperatureSampler(-0.1), lambda: TemperatureSampler(math.nan), lambda: TemperatureSampler(math.inf),
        lambda: TopKSampler(0), lambda: TopKSampler(1.5), lambda: TopPSampler(0), lambda: TopPSampler(1.01),
        lambda: MinPSampler(-0.1), lambda: MinPSampler(1.1),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(build):
    with pytest.raises(SamplingError, match="it must be"):
        build()


@pytest.mark.parametrize("logits", [torch.zeros(1, 2, 3), torch.zeros(0), torch.tensor(1.0), torch.zeros(3).long()])
def test_logits_of_the_wrong_shape_are_refused(logits):
    with pytest.raises(ShapeError):
        GreedySampler().sample(logits)


# --- rules that remove, against slow oracles and hand-worked numbers ---


@given(LOGITS, st.floats(0.01, 1))
def test_typical_keeps_the_smallest_set_of_the_most_typical(logits, mass):
    left, probs = kept(TypicalSampler(mass), logits), probabilities(logits)
    entropy = -math.fsum(p * math.log(p) for p in probs if p)
    far = {i: round(abs(-math.log(p) - entropy) / TOLERANCE) for i, p in enumerate(probs) if p}
    order = sorted(far, key=lambda i: (far[i], i))
    assert left
    if mass == 1:
        assert left == sorted(order)
        return
    assert left == sorted(order[: len(left)])
    assert math.fsum(probs[i] for i in left) >= mass - 2 * TOLERANCE
    assert math.fsum(probs[i] for i in order[: len(left) - 1]) < mass


@given(LOGITS, st.floats(0, 5))
def test_top_n_sigma_keeps_what_stands_out(logits, n):
    possible = [value for value in logits if value > -math.inf]
    mean = math.fsum(possible) / len(possible)
    sigma = math.sqrt(math.fsum((value - mean) ** 2 for value in possible) / len(possible))
    distances = [max(possible) - value - n * sigma for value in logits]
    left = kept(TopNSigmaSampler(n), logits)
    assert left
    assert all(distances[i] <= 2 * TOLERANCE for i in left)
    assert all(distances[i] > 0 for i in set(range(len(logits))) - set(left))


def test_top_n_sigma_does_not_depend_on_the_temperature():
    logits = torch.randn(100, generator=torch.Generator().manual_seed(3))
    plain = kept(TopNSigmaSampler(1.5), logits.tolist())
    for temperature in (1e-3, 0.5, 3.0, 1e4):
        warmed, _ = TemperatureSampler(temperature).process(logits)
        assert kept(TopNSigmaSampler(1.5), warmed.tolist()) == plain


PROBS = (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    ("sampler", "probs", "expected"),
    [
        (TopKSampler(1), PROBS, (0, 0, 0, 1)), (TopKSampler(3), PROBS, (0, 2 / 9, 3 / 9, 4 / 9)),
        (TopKSampler(4), PROBS, PROBS), (TopPSampler(0.7), PROBS, (0, 0, 3 / 7, 4 / 7)),
        (TopPSampler(0.8), PROBS, (0, 2 / 9, 3 / 9, 4 / 9)), (TopPSampler(1), PROBS, PROBS),
        (MinPSampler(0), PROBS, PROBS), (MinPSampler(0.24), PROBS, PROBS),
        (MinPSampler(0.26), PROBS, (0, 2 / 9, 3 / 9, 4 / 9)), (MinPSampler(0.49), PROBS, (0, 2 / 9, 3 / 9, 4 / 9)),
        (MinPSampler(0.51), PROBS, (0, 0, 3 / 7, 4 / 7)), (MinPSampler(0.74), PROBS, (0, 0, 3 / 7, 4 / 7)),
        (MinPSampler(0.76), PROBS, (0, 0, 0, 1)), (MinPSampler(1), PROBS, (0, 0, 0, 1)),
        (TypicalSampler(0.5), (0.97, 0.01, 0.01, 0.01), (1, 0, 0, 0)),
        (TypicalSampler(0.5), (0.4, 0.2, 0.2, 0.2), (0, 1 / 3, 1 / 3, 1 / 3)),
        (TopNSigmaSampler(1), PROBS, (0, 0, 3 / 7, 4 / 7)), (TopNSigmaSampler(3), PROBS, PROBS),
    ],
)  # fmt: skip
def test_the_cases_that_other_engines_publish(sampler, probs, expected):
    after = torch.softmax(sampler.process(torch.tensor(probs).log())[0], -1)
    assert after.tolist() == pytest.approx(list(expected), abs=1e-6)


def test_mirostat_step_by_step_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    sampler, ids, state = MirostatSampler(1.0, 0.5), [0], None
    borders, left = [], []
    for drawn in (1, 0, 0, 1):
        after, state = sampler.process(logits, torch.tensor([ids]), state)
        borders.append(state.mu.item())
        left.append(int(torch.isfinite(after).sum()))
        ids.append(drawn)
    # two tokens, the second of which (probability 1/3) is drawn; then one token, no surprise; then two, 2/3 is drawn
    second = 2 - 0.5 * (math.log2(3) - 1)
    third = second - 0.5 * (0 - 1)
    fourth = third - 0.5 * (math.log2(1.5) - 1)
    assert borders == pytest.approx([2, second, third, fourth])
    assert left == [2, 1, 2, 2]


@given(LOGITS, st.floats(0.1, 8))
def test_mirostat_keeps_what_surprises_least(logits, tau):
    left, probs = kept(MirostatSampler(tau), logits), probabilities(logits)
    surprise = [-math.log2(p) if p else math.inf for p in probs]
    border = max(2 * tau, min(surprise))
    assert left
    assert all(surprise[i] <= border + 2 * TOLERANCE for i in left)
    assert all(surprise[i] >= border for i in set(range(len(logits))) - set(left))


# --- what each stage of a chain did ---


def test_a_chain_tells_what_each_stage_did():
    chain = SamplerChain([BannedTokens([3]), TemperatureSampler(0.5), TopKSampler(2), TopPSampler(0.99)])
    ban, warmth, cut, nothing = chain.explain(torch.tensor(PROBS).log())
    assert ban.removed == (3,)
    assert ban.mass_left == pytest.approx(0.6)
    assert ban.probs.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6, 0])
    assert (warmth.removed, warmth.mass_left, warmth.has_effect) == ((), 1.0, True)
    assert warmth.probs.tolist() == pytest.approx([1 / 14, 4 / 14, 9 / 14, 0])
    assert cut.removed == (0,)
    assert cut.mass_left == pytest.approx(13 / 14)
    assert cut.probs.tolist() == pytest.approx([0, 4 / 13, 9 / 13, 0])
    assert (nothing.removed, nothing.has_effect) == ((), False)


@given(LOGITS, st.floats(0.1, 3), st.integers(1, 6), st.floats(0.1, 1))
def test_a_chain_ends_where_its_last_stage_ends(logits, temperature, k, p):
    chain = SamplerChain([TemperatureSampler(temperature), TopKSampler(k), TopPSampler(p), RepetitionPenalty(1.5)])
    ids = torch.tensor([0, 0])
    reports = chain.explain(torch.tensor(logits), ids)
    after, _ = chain.process(torch.tensor([logits]), ids.unsqueeze(0))
    assert torch.equal(reports[-1].logits, after[0])
    left = 1.0
    for report in reports:
        left *= report.mass_left
        assert report.probs.sum().item() == pytest.approx(1)
    assert 0 < left <= 1


def test_only_one_distribution_can_be_explained():
    with pytest.raises(ShapeError, match="one distribution"):
        SamplerChain([TopKSampler(2)]).explain(torch.zeros(2, 3))
