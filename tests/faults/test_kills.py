"""The short version of `python -m tests.faults.kills`."""

import time

import pytest

from tests.faults import kills


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path):
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    found = kills.run(3, tmp_path, epochs=5, seed=seed)
    assert sorted(kill.moment for kill in found) == sorted(kills.MOMENTS)
    assert all(kill.saving in kills.SAVES for kill in found if kill.moment == "saving")
    assert max(kill.step - kill.saved for kill in found) <= kills.CHECKPOINT_EVERY
