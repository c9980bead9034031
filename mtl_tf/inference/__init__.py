"""From a finished run to answers: the predictor, predictions as files, scores of a split."""

from mtl_tf.inference.predictor import load

__all__ = ["load"]
