"""The networks: encoder -> ASPP -> decoder -> heads, assembled with the Keras functional API.

Keras is imported only when a network is built, since the names of encoders and architectures are options.
"""

import importlib

__all__ = ["build_model"]


def __getattr__(name):
    if name in __all__:
        return getattr(importlib.import_module("mtl_tf.models.build"), name)  # noqa: TID251 (ours)
    raise AttributeError(f"module 'mtl_tf.models' has no attribute {name!r}; it has {', '.join(__all__)}")
