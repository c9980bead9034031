"""The step of every method is the step of its formulas.

One of each kind is compiled; the others run operation by operation, in half the time. test_step_devices.py compares
every method compiled, on two devices.
"""

import pytest
import tensorflow as tf

from tests.balancing import step as rigs
from tests.balancing.by_hand import ByHand, assert_same_steps


@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=() if name in rigs.KINDS else pytest.mark.slow) for name in rigs.SETTINGS]
)
def test_three_steps_are_those_of_the_formulas(setting):
    """Losses, weights, what the network and the method's state have become; depth is absent in one step."""
    rig = rigs.rig(rigs.SETTINGS[setting])
    tf.config.run_functions_eagerly(setting not in rigs.KINDS)
    try:
        assert_same_steps(rig, ByHand(rig))
    finally:
        tf.config.run_functions_eagerly(False)
