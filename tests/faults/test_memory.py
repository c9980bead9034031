"""The short version of `python -m tests.faults.memory`."""

import numpy as np
import pytest

from tests.faults import memory

BOUND = 60_000  # bytes a step: less than the 95,000 of one picture, its labels and the answer, as 32-bit numbers


def test_the_slope_is_that_of_a_line():
    steps = np.arange(1, 1000)
    used = np.where(steps < 150, 5e8 * steps / 150, 5e8 + 12.5 * steps)
    found, error = memory.slope(steps, used)
    assert found == pytest.approx(12.5) and error < 1e-3
    noisy = used + np.random.default_rng(0).normal(0, 1e4, used.shape)
    found, error = memory.slope(steps, noisy)
    assert abs(found - 12.5) < 4 * error and 0.1 < error < 10


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """After the first epochs, whose validation takes memory that is kept."""
    found, error = memory.slope(*memory.measure(600, tmp_path, epochs=6), warm_up=0.5)
    assert found - 3 * error < BOUND
