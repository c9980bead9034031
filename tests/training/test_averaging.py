"""Averaged weights by hand, and that they change nothing of the weights that are trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import TrainConfig
from mtl_tf.models.layers import DropPath
from mtl_tf.training.averaging import Averaging


def averaging(kind, **options):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.variables[0].assign([[1.0]])
    found = Averaging(tf.distribute.get_strategy(), model, TrainConfig(average=kind, **options))
    found.start()
    return model.variables[0], found


def average_of(weight, found):
    before = weight.numpy()
    with found.swapped_in():
        value = float(weight.numpy()[0, 0])
    np.testing.assert_array_equal(weight.numpy(), before)
    return value


def test_ema_by_hand():
    """The decay is 1/10, then 2/11, then 0.25, its limit: a = d a + (1 - d) w of w = 2, 4, 8."""
    weight, found = averaging("ema", ema_decay=0.25)
    assert found.after_each_step and not found.there_is_one()
    expected = 1.0
    for decay, value in ((0.1, 2.0), (2 / 11, 4.0), (0.25, 8.0)):
        weight.assign([[value]])
        found.add()
        expected = decay * expected + (1 - decay) * value
        assert average_of(weight, found) == pytest.approx(expected, rel=1e-6)
    assert found.there_is_one()


def test_swa_is_the_mean_of_the_last_epochs():
    weight, found = averaging("swa", swa_start=0.5, epochs=4)
    taken = [epoch for epoch in range(1, 5) if found.takes_epoch(epoch)]
    assert taken == [3, 4] and not found.after_each_step
    for value in (3.0, 8.0, 4.0):
        weight.assign([[value]])
        found.add()
    assert average_of(weight, found) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("start", "epochs", "expected"), [(0.0, 3, [1, 2, 3]), (0.75, 16, [13, 14, 15, 16]), (1.0, 3, [3])]
)
def test_the_epochs_of_swa(start, epochs, expected):
    _, found = averaging("swa", swa_start=start, epochs=epochs)
    assert [epoch for epoch in range(1, epochs + 1) if found.takes_epoch(epoch)] == expected


def test_an_epoch_is_taken_once():
    """A run that was stopped while the average was validated comes to the end of the same epoch again."""
    _, found = averaging("swa", swa_start=0.5, epochs=4)
    found.add()
    assert [epoch for epoch in range(1, 5) if found.takes_epoch(epoch)] == [4]


def test_what_is_drawn_with_the_average_in_place_changes_no_later_draw():
    model = keras.Sequential([keras.Input((1,)), DropPath(0.5)])
    found = Averaging(tf.distribute.get_strategy(), model, TrainConfig(average="swa"))
    with found.swapped_in():
        first = model(np.ones((64, 1)), training=True).numpy()
    np.testing.assert_array_equal(model(np.ones((64, 1)), training=True), first)
    assert not np.array_equal(model(np.ones((64, 1)), training=True), first)


def test_none_keeps_nothing():
    _, found = averaging("none")
    assert not found.on and found.state == {} and not found.there_is_one() and not found.takes_epoch(16)
