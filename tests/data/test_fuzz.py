"""A share of the damaged files of `tests.data.fuzz`, with the same seed every time."""

import pytest

from tests.data.fuzz import WRITERS, cases


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_an_error_or_a_sample_in_range(name, tmp_path):
    outcomes = cases(name, 60, 0, tmp_path)
    assert outcomes.total() == 60
    assert outcomes["error"] >= 10  # the damage is real
