"""Synthetic road scenes with exact labels and exact depth, rendered with NumPy alone."""

from mtl_tf.data.synthetic.render import render
from mtl_tf.data.synthetic.scene import build_scene, sample_seed

__all__ = ["build_scene", "render", "sample_seed"]
