import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.split import count_windows, largest_context, split_counts, split_ids, validation_ranges
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


@given(num_tokens=st.integers(1, 60_000), fraction=st.floats(0, 0.99), split=st.sampled_from(["end", "blocks"]))
def test_the_ranges_of_both_splits_are_disjoint_sorted_and_of_the_right_length(num_tokens, fraction, split):
    num_training, num_validation = split_counts(num_tokens, fraction, None)
    ranges = validation_ranges(num_tokens, num_validation, split)
    places = [place for start, end in ranges for place in range(start, end)]
    assert places == sorted(set(places))
    assert len(places) == num_validation
    assert all(0 <= place < num_tokens for place in places)
    training, validation = split_ids(np.arange(num_tokens), fraction, None, split)
    assert validation.tolist() == places
    assert len(training) == num_training
    assert sorted([*training.tolist(), *places]) == list(range(num_tokens))


def test_blocks_come_from_all_of_the_stream_and_are_long():
    ranges = validation_ranges(1_000_000, 100_000, "blocks")
    assert len(ranges) == 20
    assert all(end - start == 5_000 for start, end in ranges)
    assert all(index * 50_000 <= start < end <= (index + 1) * 50_000 for index, (start, end) in enumerate(ranges))
    assert len({start % 50_000 for start, _ in ranges}) == 20
