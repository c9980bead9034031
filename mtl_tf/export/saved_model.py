"""SavedModel: a folder that answers without this project's code."""

import pathlib

import tensorflow as tf

from mtl_tf.inference.answering import AnswerModule
from mtl_tf.inference.predictor import ASSET
from mtl_tf.plain_paths import plain_path


def save(module: AnswerModule, description: str, folder: pathlib.Path) -> None:
    """Writes a SavedModel.

    Its signatures take a batch of any size and give every answer of every task (`Task.answers`):
    `serving_default` takes `image`, uint8 (B, H, W, 3), brings it to the size of the training and the answers back;
    `native` takes the same and does not resize; `serving_bytes` takes `encoded`, strings (B,), JPEG, PNG, BMP or GIF
    files of one size, and answers as `serving_default`.

    Args:
        module: the functions.
        description: JSON, becomes assets/tasks.json.
        folder: is made.

    Raises:
        OSError, tf.errors.OpError: it cannot be written.
    """
    asset = folder.with_name(ASSET)
    asset.write_text(description, encoding="utf-8")
    plain = plain_path(folder.parent)
    module.description = tf.saved_model.Asset(f"{plain}/{asset.name}")
    signatures = {"serving_default": module.fit, "native": module.native, "serving_bytes": _of_files(module)}
    tf.saved_model.save(module, f"{plain}/{folder.name}", signatures=signatures)


def _of_files(module):
    """The function of encoded pictures, one after another: memory for one decoded picture only."""
    answers = module.fit.get_concrete_function().structured_outputs
    of_one = {name: tf.TensorSpec(answer.shape[1:], answer.dtype) for name, answer in answers.items()}

    def one(encoded):
        picture = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return {name: value[0] for name, value in module.fit(picture[None]).items()}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="encoded")], autograph=False)
    def serve(encoded):
        return tf.map_fn(one, encoded, fn_output_signature=of_one, parallel_iterations=1)

    return serve
