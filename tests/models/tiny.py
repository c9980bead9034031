"""A small residual network, `--plugin=tests/models/tiny.py --model.encoder=tiny`: for tests of families."""

import dataclasses
import functools

import mtl_tf
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.encoders.resnet import resnet

_BUILD = functools.partial(resnet, (2, 2, 2, 2), bottleneck=False, widths=(8, 8, 16, 24))

ENCODER = mtl_tf.register(mtl_tf.Encoder("tiny", _BUILD))


def small_options(family: str) -> dict[str, str]:
    """The options of an architecture that make its network small, by their full names."""
    options = ARCHITECTURES[family].Options
    names = {field.name for field in dataclasses.fields(options)} if options else set()
    return {f"arch.{family}.head": "fcn"} if "head" in names else {}
