"""The bound of the test process's memory."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mtl_tf.kernels import on_tensorflow
from tests import resident
from tests.helpers import ROOT

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


PROGRAM = """
import os
from tests import resident
resident.POOL_MB = 64
resident.bound_the_pool()
assert resident.POOL_VARIABLE not in os.environ
import tensorflow as tf
try:
    tf.zeros((200, 2**20), tf.uint8)
except tf.errors.ResourceExhaustedError:
    print("bounded")
"""


@pytest.mark.slow
def test_the_pool_of_tensorflow_is_bounded_in_this_process_alone():
    if not on_tensorflow.has_dilated_kernels("float32"):
        pytest.skip("oneDNN is off on this CPU; TensorFlow's own allocator keeps nothing")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "bounded\n", done.stderr
