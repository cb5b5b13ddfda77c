"""Statistics of arrays with and without numbers that are not finite."""

import math

import numpy as np
import pytest

from minigpt.interpret.statistics import statistics


def test_statistics_by_hand():
    found = statistics(np.array([[1.0, -3.0], [2.0, -np.inf]]))
    assert (found.low, found.high, found.mean, found.blocked) == (-3.0, 2.0, 0.0, 1)
    assert found.norm == pytest.approx(14**0.5)


def test_without_a_finite_number_there_are_no_statistics():
    found = statistics(np.array([np.nan, np.inf]))
    assert found.blocked == 2
    assert all(math.isnan(value) for value in (found.low, found.high, found.mean, found.std, found.norm))
