"""Folded batch norm: the same answers, and none left where it follows a convolution."""

import keras
import numpy as np
import pytest

from mtl_tf.config import ModelConfig
from mtl_tf.models import build_model
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.folding import fold
from mtl_tf.models.layers import BatchNorm, Conv2D
from mtl_tf.tasks import cityscapes_tasks
from tests.models.common import difference, pictures, randomise


def norms_in(model):
    """Names of the batch norms of a model and of those inside it."""
    found = []
    for layer in model.layers:
        found += norms_in(layer) if isinstance(layer, keras.Model) else [layer.name] * isinstance(layer, BatchNorm)
    return found


@pytest.mark.parametrize("architecture", ["joint", "distilled"])
def test_a_network_answers_the_same_without_batch_norm(architecture):
    model = build_model(ModelConfig(encoder="resnet18", architecture=architecture), cityscapes_tasks())
    randomise(model)
    before = model.get_weights()
    folded = fold(model)
    assert norms_in(model) and not norms_in(folded)
    image = pictures(1, 40, 56)
    expected = model(image, training=False)
    found = folded(image, training=False)
    assert list(found) == list(expected)
    for name in expected:
        assert difference(found[name], expected[name]) < 1e-5, name
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_sixteen_bit_weights_are_rounded_once():
    """What is folded is kept as it is computed with; the answers are those of float32 but for rounding."""
    tasks, config = cityscapes_tasks(), ModelConfig(encoder="resnet18")
    model = build_model(config, tasks)
    randomise(model)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        sixteen = build_model(config, tasks)
    finally:
        keras.config.set_dtype_policy(policy)
    sixteen.set_weights(model.get_weights())
    folded = fold(sixteen)
    float32 = {weight.path for weight in folded.weights if weight.dtype == "float32"}
    assert float32 and all("head" in path for path in float32)
    image = pictures(1, 40, 56)
    for name, expected in model(image, training=False).items():
        found = folded(image, training=False)[name]
        assert found.dtype == "float32" and 1e-6 < difference(found, expected) < 0.03, name


def test_convolutions_of_each_channel_by_itself():
    encoder = build_encoder("mobilenetv2", (0, 0, 1))
    randomise(encoder)
    folded = fold(encoder)
    assert not norms_in(folded)
    image = pictures(1, 48, 64)
    for name, expected in encoder(image, training=False).items():
        assert difference(folded(image, training=False)[name], expected) < 1e-4, name


def test_what_cannot_be_folded_stays():
    """A batch norm after an activation, after a sum, and of a convolution that is used twice."""
    image = x = keras.Input((None, None, 3))
    x = Conv2D(4, 3, padding="same", activation="relu", name="active")(x)
    y = BatchNorm(name="after_activation")(x)
    y = Conv2D(4, 3, padding="same", name="twice")(y)
    z = BatchNorm(name="of_twice")(y)
    z = BatchNorm(name="after_sum")(keras.layers.Add(name="sum")([y, z]))
    z = BatchNorm(name="folded")(Conv2D(2, 1, name="once")(z))  # with a bias of its own
    model = keras.Model(image, z)
    randomise(model)
    folded = fold(model)
    assert norms_in(folded) == ["after_activation", "of_twice", "after_sum"]
    pixels = pictures(2, 9, 7) / 255
    assert difference(folded(pixels), model(pixels)) < 1e-5
