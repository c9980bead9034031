"""Activations that are computed again: the same outputs, gradients and running statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.models import build_model
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.layers import DropPath
from mtl_tf.models.recompute import recomputing
from mtl_tf.tasks import cityscapes_tasks
from tests.models.common import pictures


def one_step(model):
    """Loss, gradients and running statistics after a training pass."""

    @tf.function(autograph=False)
    def run(image):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(image, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.square(output)) for output in outputs])
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    loss, gradients = run(tf.constant(pictures(8, 32, 48) / 255))
    graph = run.get_concrete_function(tf.TensorSpec((8, 32, 48, 3), tf.float32)).graph
    found = {
        variable.path: gradient.numpy() for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    found |= {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    return float(loss), found, graph


@pytest.mark.parametrize("architecture", ["joint", pytest.param("distilled", marks=pytest.mark.slow)])
def test_a_step_is_the_same(architecture):
    models = []
    for recompute in (False, True):
        keras.utils.set_random_seed(1)
        config = ModelConfig(encoder="resnet18", architecture=architecture, recompute=recompute)
        models.append(build_model(config, cityscapes_tasks()))
    plain, again = models
    assert [variable.path for variable in again.variables] == [variable.path for variable in plain.variables]
    image = pictures(1, 40, 56)
    for name, value in plain(image, training=False).items():
        np.testing.assert_array_equal(again(image, training=False)[name], value)
    loss, found, _ = one_step(plain)
    loss_again, found_again, _ = one_step(again)
    assert loss_again == loss
    for path, value in found.items():
        np.testing.assert_allclose(found_again[path], value, rtol=0, atol=3e-5 * np.abs(value).max(), err_msg=path)


def test_every_residual_block_is_computed_twice_and_moves_its_statistics_once():
    encoder = build_encoder("resnet18")  # undilated: where a gradient is no convolution
    again = recomputing(encoder)
    assert len([layer for layer in again.layers if "recomputed" in layer.name]) == 10  # stem, 8 blocks, what is after
    _, before, graph = one_step(again)
    forward = [operation for operation in graph.get_operations() if operation.type == "Conv2D"]
    assert len(forward) == 2 * sum(isinstance(layer, keras.layers.Conv2D) for layer in encoder.layers)
    assert before["encoder/bn1/moving_mean"].any()


@pytest.mark.parametrize("calls", [1, 2])
def test_random_layers_draw_once_a_call(calls):
    """Two residual branches that drop images; gradients of a pass that drew apart when repeated would differ."""
    found = []
    for rebuild in (lambda model: model, recomputing):
        keras.utils.set_random_seed(2)
        image = x = keras.Input((None, None, 3))
        for number in range(2):
            branch = keras.layers.Conv2D(3, 3, padding="same", activation="tanh", name=f"conv{number}")(x)
            x = keras.layers.Add()([x, DropPath(0.5, name=f"drop{number}")(branch)])
        model = rebuild(keras.Model(image, x))
        x = image
        for _ in range(calls):
            x = model(x)
        loss, gradients, _ = one_step(keras.Model(image, x))
        found.append((loss, [gradients[f"conv{number}/kernel"] for number in range(2)]))
    (loss, gradients), (loss_again, gradients_again) = found
    assert loss_again == loss
    np.testing.assert_allclose(gradients_again, gradients, rtol=1e-5)
