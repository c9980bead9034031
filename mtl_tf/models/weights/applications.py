"""keras.applications: which of its networks an encoder follows, and the ImageNet weights of that."""

import contextlib
import functools
import socket
from collections.abc import Callable

import keras
import numpy as np

from mtl_tf.models.encoders import applications
from mtl_tf.models.encoders.replay import named_layers
from mtl_tf.models.weights.tensors import Tensor, UnreadableError

APPLICATIONS: dict[str, Callable[..., keras.Model]] = {
    name: row.network for name, row in applications.APPLICATIONS.items()
}
SECONDS = 30  # without an answer, after which a server counts as silent


@functools.cache
def layer_names(encoder: str) -> frozenset[str]:
    """The names of all layers of the network that an encoder follows, its classifier included."""
    if encoder not in APPLICATIONS:
        return frozenset()
    with _float32():
        network = APPLICATIONS[encoder](include_top=True, weights=None)
    return frozenset(name for name, _ in named_layers(network))


def open_imagenet(encoder: str) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
    """The ImageNet weights, LAYER/NUMBER, which Keras fetches once, checks by its published hashes and keeps.

    Raises:
        UnreadableError: Keras cannot fetch them.
    """
    silence = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        with _float32():
            network = APPLICATIONS[encoder](include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises nothing more special
        reason = " ".join(str(error).split())[:160]
        raise UnreadableError(f"cannot be fetched for {encoder} ({reason})") from None
    finally:
        socket.setdefaulttimeout(silence)
    values = {
        f"{name}/{number}": variable
        for name, layer in named_layers(network)
        for number, variable in enumerate(getattr(layer, "variables", ()))  # an operation has none
    }
    tensors = {
        name: Tensor(tuple(value.shape), lambda value=value: np.asarray(keras.ops.convert_to_numpy(value)))
        for name, value in values.items()
    }
    return contextlib.nullcontext(tensors)


@contextlib.contextmanager
def _float32():
    """Weights are stored so, whatever the policy of the run."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
