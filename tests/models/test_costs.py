"""Multiply-adds against the published figures and against counting by hand."""

import keras
import pytest

from mtl_tf import ModelConfig, build_model, cityscapes_tasks
from mtl_tf.models.costs import multiply_adds


@pytest.mark.parametrize(("architecture", "published"), [("joint", 13.64), ("branched", 19.96), ("distilled", 29.65)])
def test_published_networks_at_256x256(architecture, published):
    model = build_model(ModelConfig(architecture=architecture), cityscapes_tasks())
    assert multiply_adds(model, (256, 256)) / 1e9 == pytest.approx(published, abs=0.005)


def test_by_hand():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)  # 5 x 6 outputs of 9 * 3 products, 8 channels
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 5 x 6 outputs of 9 products, 8 channels
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(4)(x))  # 8 * 4
    assert multiply_adds(model, (10, 12)) == 5 * 6 * 27 * 8 + 5 * 6 * 9 * 8 + 32


def test_a_layer_may_say_its_own():
    class Products(keras.layers.Layer):
        def call(self, one, other):
            return one * other

        def multiply_adds(self, one_shape, other_shape):
            return one_shape[1] * other_shape[-1]

    image = keras.Input((None, None, 3))
    assert multiply_adds(keras.Model(image, Products()(image, image)), (10, 12)) == 10 * 3
