"""Run as a program by test_layers: two logical devices draw, and normalise as one does; a line of JSON each.

Logical devices can only be made before TensorFlow starts, hence a process of its own.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.models.layers import BatchNorm, DropPath

CHANNELS = 5


def make_layer(policy):
    layer = BatchNorm(dtype=policy)
    layer.build((None, None, None, CHANNELS))
    random = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(random.uniform(0.5, 1.5, CHANNELS))
    return layer


def forward_and_backward(layer, images, upstream):
    """Outputs, and gradients of sum(outputs * upstream) with respect to images, gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.cast(layer(images, training=True), tf.float32)
        loss = tf.reduce_sum(outputs * upstream)
    sources = [images, layer.gamma.value, layer.beta.value]
    return outputs, *tape.gradient(loss, sources)


def compare(split, policy="float32", size=(6, 7)):
    """Largest differences between two devices, given `split` images each, and one; of the largest value above 1."""
    random = np.random.default_rng(0)
    images = random.normal(3.0, 2.0, (sum(split), *size, CHANNELS))
    images = tf.constant(images, keras.DTypePolicy(policy).compute_dtype)
    upstream = tf.constant(random.normal(size=images.shape), tf.float32)
    alone = make_layer(policy)
    expected = forward_and_backward(alone, images, upstream)

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = make_layer(policy)

    def parts_of(whole):
        parts = tf.split(whole, split)
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    @tf.function
    def step(images, upstream):
        return strategy.run(forward_and_backward, args=(layer, images, upstream))

    outputs, by_image, by_gamma, by_beta = step(parts_of(images), parts_of(upstream))
    found = [np.concatenate([part.numpy() for part in strategy.experimental_local_results(outputs)])]
    found.append(np.concatenate([part.numpy() for part in strategy.experimental_local_results(by_image)]))
    found += [
        sum(part.numpy() for part in strategy.experimental_local_results(gradient)) for gradient in (by_gamma, by_beta)
    ]
    names = ("outputs", "image_gradient", "gamma_gradient", "beta_gradient")
    differences = {name: difference(a, b) for name, a, b in zip(names, found, expected, strict=True)}
    for name in ("moving_mean", "moving_variance"):
        copies = strategy.experimental_local_results(getattr(layer, name).value)
        differences[name] = max(difference(copy, getattr(alone, name)) for copy in copies)
    return differences


def difference(found, expected):
    found, expected = (np.asarray(value, np.float64) for value in (found, expected))
    return float(np.abs(found - expected).max() / max(1, np.abs(expected).max()))


def stochastic_depth():
    """What two devices draw in two steps, and how often each thinks that it was called."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = DropPath(0.5)
        layer.build((None, 1))

    @tf.function
    def step():
        return strategy.run(lambda: layer(tf.ones((64, 1)), training=True))

    drawn = [part.numpy().ravel().tolist() for _ in range(2) for part in strategy.experimental_local_results(step())]
    calls = [int(copy[1]) for copy in strategy.experimental_local_results(layer.draws)]
    return {"drawn": drawn, "calls": calls}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    result = {
        "even": compare((3, 3)),
        "uneven": compare((1, 4)),
        "empty": compare((4, 0)),
        "bfloat16": compare((2, 3), "mixed_bfloat16"),
        "two values": compare((1, 1), size=(1, 1)),
        "a single value": compare((1, 0), size=(1, 1)),
    }
    print(json.dumps(stochastic_depth()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
