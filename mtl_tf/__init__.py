"""Multi-task dense prediction on TensorFlow and Keras: one shared encoder, several answers per pixel.

TensorFlow is imported only when a name that needs it is first used, so that `--help` and the data tools start at once.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "build_model": "mtl_tf.models",
    "ModelConfig": "mtl_tf.config",
    "Config": "mtl_tf.config",
    "cityscapes_tasks": "mtl_tf.tasks",
    "Segmentation": "mtl_tf.tasks",
    "Depth": "mtl_tf.tasks",
    "load": "mtl_tf.inference",
    # For what a person adds: docs/extending.md.
    "register": "mtl_tf.plugins",
    "Labels": "mtl_tf.tasks",
    "Task": "mtl_tf.tasks",
    "Metric": "mtl_tf.tasks",
    "Section": "mtl_tf.options",
    "option": "mtl_tf.options",
    "Encoder": "mtl_tf.models.encoders",
    "Architecture": "mtl_tf.models.architectures",
    "Scalarizer": "mtl_tf.balancing",
    "Aggregator": "mtl_tf.balancing",
    "DirectionAggregator": "mtl_tf.balancing",
    "Slot": "mtl_tf.balancing",
    "DataSet": "mtl_tf.data.sets.data_set",
    "Descriptor": "mtl_tf.data.descriptors",
    "FileSource": "mtl_tf.data.samples",
    "UsageError": "mtl_tf.errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)  # noqa: TID251 (ours)
    raise AttributeError(f"module 'mtl_tf' has no attribute {name!r}; it has {', '.join(_PUBLIC)}")
