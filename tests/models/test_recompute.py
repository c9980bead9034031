"""Activations that are computed again: the same outputs, gradients and running statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.models import build_model
from mtl_tf.models.encoders import build_encoder
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

    loss, gradients = run(tf.constant(pictures(2, 32, 48)))
    graph = run.get_concrete_function(tf.TensorSpec((2, 32, 48, 3), tf.float32)).graph
    found = {
        variable.path: gradient.numpy() for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    found |= {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    return float(loss), found, graph


@pytest.mark.parametrize("architecture", ["joint", "distilled"])
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
    encoder = build_encoder("resnet18", (0, 0, 1))
    again = recomputing(encoder)
    assert len([layer for layer in again.layers if "recomputed" in layer.name]) == 9  # 8 blocks and what is after
    _, before, graph = one_step(again)
    forward = [operation for operation in graph.get_operations() if operation.type == "Conv2D"]
    assert len(forward) == 2 * sum(isinstance(layer, keras.layers.Conv2D) for layer in encoder.layers)
    assert before["encoder/bn1/moving_mean"].any()
