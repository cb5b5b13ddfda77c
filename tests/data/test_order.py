import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.order import BatchOrder
from minigpt.errors import ConfigError

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.integers(1, 300), st.integers(0, 5))
def test_an_epoch_is_a_permutation(seed, num_windows, epoch):
    order = BatchOrder(seed, num_windows, batch_size=num_windows)
    assert sorted(order.indices(epoch)) == list(range(num_windows))


@given(seeds, st.integers(1, 200), st.integers(1, 50), st.integers(0, 20))
def test_batches_equal_the_naive_walk(seed, num_windows, batch_size, step):
    """Positions step * batch_size, ... of the endless row of epochs, whether or not a batch spans an epoch's end."""
    order = BatchOrder(seed, num_windows, batch_size)
    positions = range(step * batch_size, (step + 1) * batch_size)
    walk = [order.permute_naive(n % num_windows, n // num_windows) for n in positions]
    batch = order.indices(step)
    assert batch.dtype == np.int64
    assert batch.tolist() == walk


@given(seeds, st.integers(1, 100), st.integers(1, 6), st.integers(0, 20), st.data())
def test_the_ranks_shares_make_up_the_batch(seed, num_windows, num_ranks, step, data):
    batch_size = data.draw(st.integers(num_ranks, 40))
    shares = [BatchOrder(seed, num_windows, batch_size, rank, num_ranks).indices(step) for rank in range(num_ranks)]
    assert np.concatenate(shares).tolist() == BatchOrder(seed, num_windows, batch_size).indices(step).tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_seven_windows_in_batches_of_three_by_hand():
    order = BatchOrder(seed=0, num_windows=7, batch_size=3)
    walk = np.concatenate([order.indices(step) for step in range(7)])
    for epoch in range(3):
        assert sorted(walk[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert order.epoch(0) == 0
    assert order.epoch(7) == 3


def test_the_order_is_pinned():
    """A change here would silently change every run that is resumed."""
    assert BatchOrder(seed=1, num_windows=100_000, batch_size=6).indices(3).tolist() == [
        56213,
        43200,
        15853,
        88575,
        34782,
        53680,
    ]


def test_epochs_and_seeds_differ():
    epochs = {tuple(BatchOrder(seed, 50, 50).indices(epoch)) for seed in range(3) for epoch in range(4)}
    assert len(epochs) == 12


def test_the_order_looks_shuffled():
    """Neighbours follow each other no more often than by chance, and every position gets every window."""
    order = BatchOrder(seed=2, num_windows=1000, batch_size=1000)
    walks = np.stack([order.indices(epoch) for epoch in range(200)])
    assert (np.abs(np.diff(walks, axis=1)) == 1).mean() == pytest.approx(2 / 1000, abs=0.001)
    assert np.abs(walks.mean(axis=0) - 499.5).max() < 5 * 288.7 / np.sqrt(200)  # five standard errors
    first = np.bincount(walks[:, 0] // 100, minlength=10)
    assert first.min() > 5


def test_billions_of_windows_cost_no_memory():
    num_windows = 2**40 + 7
    order = BatchOrder(seed=0, num_windows=num_windows, batch_size=16)
    batch = order.indices(10**9)
    assert len(set(batch.tolist())) == 16
    assert batch.min() >= 0
    assert batch.max() < num_windows
    assert batch.tolist() == [order.permute_naive(16 * 10**9 + n, 0) for n in range(16)]


def test_the_order_continues_from_any_step():
    order = BatchOrder(seed=0, num_windows=10, batch_size=4)
    from_two = order.from_step(2)
    assert [next(from_two).tolist() for _ in range(3)] == [order.indices(step).tolist() for step in (2, 3, 4)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"num_windows": 0}, "0 windows"),
        ({"num_ranks": 0}, "Rank 0 of 0"),
        ({"rank": 2, "num_ranks": 2}, "Rank 2 of 2"),
        ({"rank": -1}, "Rank -1 of 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 3, "num_ranks": 4}, "batch_size is 3; each of the 4 processes"),
    ],
)
def test_impossible_numbers_are_refused(arguments, problem):
    with pytest.raises(ConfigError, match=problem):
        BatchOrder(**{"seed": 0, "num_windows": 10, "batch_size": 4, **arguments})
