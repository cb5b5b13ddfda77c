import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.split import count_windows, largest_context, split_counts, split_ids
from minigpt.errors import ConfigError


@given(st.integers(0, 500), st.floats(0, 1, exclude_max=True))
def test_the_parts_are_the_whole_and_share_nothing(num_tokens, fraction):
    ids = np.arange(num_tokens)
    train, validation = split_ids(ids, fraction)
    assert np.concatenate([train, validation]).tolist() == ids.tolist()
    assert len(validation) == int(num_tokens * fraction)
    assert not set(train) & set(validation)


@given(st.integers(0, 500), st.floats(0, 1, exclude_max=True), st.none() | st.integers(1, 100))
def test_the_bound_is_kept_and_the_rest_is_learned_from(num_tokens, fraction, most):
    counts = split_counts(num_tokens, fraction, most)
    share = int(num_tokens * fraction)
    assert counts[1] == (share if most is None or share < most else most)
    assert sum(counts) == num_tokens
    assert counts == tuple(map(len, split_ids(np.arange(num_tokens), fraction, most)))


def test_the_parts_are_views():
    ids = np.zeros(10, np.uint8)
    assert all(np.shares_memory(part, ids) for part in split_ids(ids, 0.3))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2, float("nan")])
def test_an_impossible_share_is_refused(fraction):
    with pytest.raises(ConfigError, match="at least 0 and less than 1"):
        split_ids(np.arange(10), fraction)


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 7))
def test_windows_are_counted_as_one_would_by_hand(num_tokens, sequence_length, stride):
    starts = [n for n in range(0, num_tokens, stride) if n + sequence_length + 1 <= num_tokens]
    assert count_windows(num_tokens, sequence_length, stride) == len(starts)


@given(st.integers(0, 60))
def test_the_largest_context_is_the_largest_with_a_window(num_tokens):
    fits = [length for length in range(2, 100) if count_windows(num_tokens, length)]
    assert largest_context(num_tokens) == (max(fits) if fits else None)
