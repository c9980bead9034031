"""The networks: encoder -> ASPP -> decoder -> heads, assembled with the Keras functional API."""

from mtl_tf.models.architectures import build_model

__all__ = ["build_model"]
