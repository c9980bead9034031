"""The learning rate over time by hand, and which of the two weight decays an optimiser makes."""

import keras
import numpy as np
import pytest

from mtl_tf.config import OptimConfig
from mtl_tf.training.optimisers import build_optimizer, is_decoupled, l2_of, learning_rate_at

# === Learning rate ===


def test_poly_per_epoch_by_hand():
    """0.01 * (1 - e / 4)^0.9 with 10 steps an epoch, constant within it."""
    config = OptimConfig()
    expected = [0.01, 0.01 * 0.75**0.9, 0.01 * 0.5**0.9, 0.01 * 0.25**0.9]
    for step in range(40):
        assert learning_rate_at(config, step, 10, 4) == pytest.approx(expected[step // 10], rel=1e-12)
    assert learning_rate_at(config, 0, 10, 4) == 0.01
    assert expected[2] == pytest.approx(0.0053588673, rel=1e-7)


def test_poly_per_epoch_of_the_study():
    """16 epochs: the last runs at (1/16)^0.9 = 0.0825 of the initial rate."""
    assert learning_rate_at(OptimConfig(), 5000 * 15, 5000, 16) == pytest.approx(8.24692e-4, rel=1e-5)
    assert learning_rate_at(OptimConfig(), 5000 * 16 - 1, 5000, 16) == pytest.approx(8.24692e-4, rel=1e-5)


def test_poly_per_step_by_hand():
    config = OptimConfig(schedule_unit="step", schedule_power=2.0, learning_rate=1.0)
    found = [learning_rate_at(config, step, 2, 2) for step in range(4)]
    assert found == pytest.approx([1, 9 / 16, 1 / 4, 1 / 16])


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_rate_never_reaches_zero(unit):
    """The floor is a millionth of the initial rate: at the end, and where the power is steep."""
    config = OptimConfig(schedule_unit=unit, learning_rate=0.5)
    assert learning_rate_at(config, 40, 10, 4) == 0.5e-6
    steep = OptimConfig(schedule_unit=unit, learning_rate=0.5, schedule_power=100.0)
    assert learning_rate_at(steep, 39, 10, 4) == 0.5e-6
    assert learning_rate_at(steep, 0, 10, 4) == 0.5


def test_a_constant_rate():
    config = OptimConfig(schedule="constant", learning_rate=0.3)
    assert {learning_rate_at(config, step, 10, 4) for step in (0, 39, 40)} == {0.3}


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_rate_falls(unit):
    rates = [learning_rate_at(OptimConfig(schedule_unit=unit), step, 5, 6) for step in range(30)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == (6 if unit == "epoch" else 30)


# === Weight decay ===


@pytest.mark.parametrize(
    ("options", "decoupled"),
    [
        (dict(name="sgd"), False),
        (dict(name="adam"), False),
        (dict(name="adamw"), True),
        (dict(name="sgd", decoupled=True), True),
        (dict(name="adam", decoupled=True), True),
        (dict(name="adamw", decoupled=True), True),
    ],
)
def test_weights_decay_once(options, decoupled):
    """Either through the gradient or by themselves, never both."""
    config = OptimConfig(weight_decay=0.02, **options)
    assert is_decoupled(config) is decoupled
    assert l2_of(config) == (0.0 if decoupled else 0.02)
    assert build_optimizer(config).weight_decay == (0.02 if decoupled else None)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_no_decay_is_none(name):
    config = OptimConfig(name=name, weight_decay=0.0)
    assert l2_of(config) == 0 and build_optimizer(config).weight_decay is None


def steps(config, gradients, start=1.0):
    """The weight after each step."""
    variable = keras.Variable(np.float32(start))
    optimizer = build_optimizer(config)
    optimizer.build([variable])
    found = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [variable])
        found.append(float(variable.numpy()))
    return found


def test_sgd_by_hand():
    """v = 0.9 v + g, w = w - 0.1 v: v is 1, then 0.9 + 2 = 2.9."""
    assert steps(OptimConfig(learning_rate=0.1), [1, 2]) == pytest.approx([0.9, 0.61])
    assert steps(OptimConfig(learning_rate=0.1, momentum=0.0), [1, 2]) == pytest.approx([0.9, 0.7])


def test_decoupled_decay_by_hand():
    """w first shrinks by 0.1 * 0.5 of itself: 0.95, 0.9025; the gradient is zero."""
    config = OptimConfig(learning_rate=0.1, weight_decay=0.5, decoupled=True)
    assert steps(config, [0, 0]) == pytest.approx([0.95, 0.9025])
    assert steps(OptimConfig(learning_rate=0.1, weight_decay=0.5), [0, 0]) == [1, 1]


def test_adam_by_hand():
    """The first step is the rate whatever the gradient; the moments are those of the options."""
    assert steps(OptimConfig(name="adam", learning_rate=0.1), [5])[0] == pytest.approx(0.9, rel=1e-5)
    config = OptimConfig(name="adam", learning_rate=0.1, beta1=0.5, beta2=0.75, epsilon=0.0)
    first = 1 - 0.1
    # m = (0.5 * 0.5 * 1 + 0.5 * 3) / 0.75, v = (0.75 * 0.25 * 1 + 0.25 * 9) / 0.4375.
    second = first - 0.1 * (1.75 / 0.75) / np.sqrt(2.4375 / 0.4375)
    assert steps(config, [1, 3]) == pytest.approx([first, second], rel=1e-5)


def test_adamw_by_hand():
    config = OptimConfig(name="adamw", learning_rate=0.1, weight_decay=0.5)
    assert steps(config, [5])[0] == pytest.approx(0.95 - 0.1, rel=1e-5)


def test_sgd_velocity_is_free_of_the_rate():
    """v = 0.9 v + g, w -= rate v, with the rate halved before the third step: worked out by hand."""
    optimizer = build_optimizer(OptimConfig(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.0))
    weight = keras.Variable([1.0, -2.0])
    optimizer.build([weight])
    for rate, gradient in ((0.1, [1.0, 2.0]), (0.1, [1.0, 0.0]), (0.05, [0.0, 1.0])):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    # v: 1, 1.9, 1.71 and 2, 1.8, 2.62.
    expected = [1 - 0.1 * 1 - 0.1 * 1.9 - 0.05 * 1.71, -2 - 0.1 * 2 - 0.1 * 1.8 - 0.05 * 2.62]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), expected, rtol=1e-6)


def test_sgd_without_momentum_and_with_decoupled_decay():
    optimizer = build_optimizer(OptimConfig(momentum=0.0, learning_rate=0.1, weight_decay=0.5, decoupled=True))
    weight = keras.Variable([2.0])
    optimizer.build([weight])
    optimizer.apply([keras.ops.convert_to_tensor([3.0])], [weight])
    # Decay first, by rate * decay * w, then the gradient.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), [2.0 - 0.1 * 0.5 * 2.0 - 0.1 * 3.0], rtol=1e-6)
