"""The short version of `python -m tests.faults.memory`."""

import numpy as np
import pytest

from tests.faults import memory

STEPS, WARM_UP = 600, 0.5
# MiB over the steps after the warm-up; a picture of each, with labels and answer as 32-bit numbers, would make 27.
# Two runs, which kept none, had 2 and -7.
BOUND = 18


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
    found, _ = memory.slope(*memory.measure(STEPS, tmp_path, epochs=6), warm_up=WARM_UP)
    assert found * STEPS * (1 - WARM_UP) / 2**20 < BOUND
