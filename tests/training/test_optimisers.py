"""Steps of the optimisers by hand, which of the two weight decays they make, and rates for parts of the network."""

import dataclasses

import keras
import numpy as np
import pytest

from mtl_tf.config import ModelConfig, OptimConfig
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.optimisers import build_optimizer, is_decoupled, l2_of, rate_factors_of

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


# === Rates for parts of the network ===


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_factor_scales_the_rate_of_its_variable_and_its_decay(name):
    """Two equal weights; the second has a quarter of the rate, as if it stood in an optimiser with that rate."""
    config = OptimConfig(name=name, learning_rate=0.1, weight_decay=0.5, decoupled=True)
    pair = [keras.Variable([2.0]), keras.Variable([2.0])]
    optimizer = build_optimizer(config, [1.0, 0.25])
    optimizer.build(pair)
    slow = keras.Variable([2.0])
    alone = build_optimizer(dataclasses.replace(config, learning_rate=0.025))
    alone.build([slow])
    for gradient in (3.0, -1.0, 0.5):
        value = keras.ops.convert_to_tensor([gradient])
        optimizer.apply([value, value], pair)
        alone.apply([value], [slow])
    assert float(pair[1].numpy()[0]) == pytest.approx(float(slow.numpy()[0]), rel=1e-6)
    assert abs(float(pair[0].numpy()[0]) - 2.0) > abs(float(pair[1].numpy()[0]) - 2.0) > 0


def test_factors_of_a_network():
    """Stem, then stages 1 to 4, each 0.5 of the next; the encoder at 0.1; decoder and heads at the full rate."""
    model = build_model(ModelConfig(encoder="resnet18", dilation=(0, 0, 0), aspp=False), cityscapes_tasks())
    factors = rate_factors_of(OptimConfig(encoder_rate=0.1, layer_decay=0.5), model)
    expected = {
        "conv1": 0.1 / 16,
        "bn1": 0.1 / 16,
        "layer1": 0.1 / 8,
        "layer2": 0.05 / 2,
        "layer3": 0.05,
        "layer4": 0.1,
    }
    for variable, factor in zip(model.trainable_variables, factors, strict=True):
        part, name = variable.path.split("/")[:2]
        assert factor == pytest.approx(expected[name.split("_")[0]] if part == "encoder" else 1.0), variable.path
    assert rate_factors_of(OptimConfig(), model) == []
