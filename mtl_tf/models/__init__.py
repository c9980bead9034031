"""The networks: encoder -> ASPP -> decoder -> heads, assembled with the Keras functional API.

Keras is imported only when a network is built, since the names of encoders and architectures are options.
"""

__all__ = ["build_model"]


def __getattr__(name):
    if name != "build_model":
        raise AttributeError(f"module 'mtl_tf.models' has no attribute {name!r}; it has build_model")
    from mtl_tf.models.build import build_model

    return build_model
