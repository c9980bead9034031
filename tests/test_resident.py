"""The bound of the test process's memory."""

import os

import numpy as np
import pytest

from tests import resident

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux' /proc")


@pytest.fixture
def watch(monkeypatch):
    """A watch whose limit is 100 MB above what the process has now."""
    found = resident.Watch()
    found.fault()
    monkeypatch.setattr(resident, "LIMIT_MB", resident._megabytes("VmRSS") + 100)
    return found


def test_a_peak_that_has_gone_again_is_told_of(watch):
    np.ones(200 * 2**20, np.uint8)
    assert "MB; with this test it took" in watch.fault()
    assert not watch.fault()


def test_a_process_that_stays_over_the_limit_is_told_of_once(watch):
    kept = np.ones(200 * 2**20, np.uint8)
    assert watch.fault()
    kept += 1
    assert not watch.fault()


def test_less_than_the_limit_is_no_fault(watch):
    np.ones(20 * 2**20, np.uint8)
    assert not watch.fault()


def test_the_pool_of_tensorflow_is_bounded(monkeypatch):
    assert os.environ[resident.POOL_VARIABLE]
    monkeypatch.setenv(resident.POOL_VARIABLE, "7")
    resident.bound_the_pool()
    assert os.environ[resident.POOL_VARIABLE] == "7"
