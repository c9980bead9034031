"""The ImageNet weights of keras.applications, which Keras fetches once, checks by its published hashes and keeps."""

import contextlib
import socket

import keras
import numpy as np

from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.encoders.replay import named_layers
from mtl_tf.models.weights.https import SECONDS, https_only
from mtl_tf.models.weights.tensors import Tensor, UnreadableError

# Keras' source states no hash of its files: what comes could not be checked.
UNCHECKED = ("mobilenetv2",)


def open_imagenet(encoder: str) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
    """The tensors of the network that an encoder follows, LAYER/NUMBER of the variable within its layer.

    Raises:
        UnreadableError: Keras cannot fetch them, or not check what it fetches.
    """
    if encoder in UNCHECKED:
        raise UnreadableError(f"has no published checksum for {encoder}; fetch the file without its top yourself")
    policy, silence = keras.config.dtype_policy(), socket.getdefaulttimeout()
    # Weights are stored in float32 whatever the policy of the run.
    keras.config.set_dtype_policy("float32")
    socket.setdefaulttimeout(SECONDS)
    try:
        with https_only():
            network = APPLICATIONS[encoder].network(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises nothing more special
        reason = " ".join(str(error).split())[:160]
        raise UnreadableError(f"cannot be fetched for {encoder} ({reason})") from None
    finally:
        socket.setdefaulttimeout(silence)
        keras.config.set_dtype_policy(policy)
    return contextlib.nullcontext(
        {
            f"{name}/{number}": _tensor(variable)
            for name, layer in named_layers(network)
            for number, variable in enumerate(getattr(layer, "variables", ()))
            if keras.backend.is_float_dtype(variable.dtype)  # dropout has a random state
        }
    )


def _tensor(variable: keras.Variable) -> Tensor:
    return Tensor(tuple(variable.shape), lambda: np.asarray(keras.ops.convert_to_numpy(variable)))
