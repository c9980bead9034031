"""Files of predictions where something is too large: memory for a picture, depth for 16 bits."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf.config import Config
from mtl_tf.errors import UsageError
from mtl_tf.inference import files
from mtl_tf.inference.predictor import Prediction
from mtl_tf.tasks import Depth

FAR = Depth(minimum=1.0, maximum=2000.0, mean=10.0, std=5.0, log_mean=2.2, log_std=0.5)
TOO_LARGE = 40  # pixels of width for which memory does not suffice


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Predicts a folder of pictures by name -> (height, width), with a stand-in for a network; returns the words."""
    error, metres = [MemoryError()], [5.0]

    class Stub:
        tasks = (FAR,)

        def __call__(self, image, scale):
            if image.shape[1] >= TOO_LARGE:
                raise error[0]
            depth = np.full(image.shape[:2], 5.0, np.float32)
            depth[0, 0] = metres[0]
            return Prediction({"depth": depth})

    monkeypatch.setattr(files, "load", lambda *_: Stub())

    def run(pictures, raises=None, depth=5.0, **options):
        error[0], metres[0] = raises, depth
        for name, size in pictures.items():
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "in" / f"{name}.png")
        paths = dict(run_dir=str(tmp_path), input=str(tmp_path / "in"), output=str(tmp_path / "out"))
        return files.predict_files(Config(**paths, **options))

    run.depth = lambda name: np.asarray(Image.open(tmp_path / "out" / "depth" / f"{name}.png"))
    return run


GPU = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[1,64,512,1024] on GPU:0")


@pytest.mark.parametrize("raises", [MemoryError(), GPU], ids=["numpy", "tensorflow"])
@pytest.mark.parametrize("scale", ["fit", "native"])
def test_memory_that_does_not_suffice_stops_one_picture_only(predict, raises, scale):
    with pytest.raises(UsageError) as found:
        predict({"a": (8, 8), "large": (8, TOO_LARGE), "z": (8, 8)}, raises, scale=scale)
    text = str(found.value)
    assert "1 of 3 pictures cannot be predicted: large: memory does not suffice" in text and "(2 done)" in text
    assert "a smaller picture" in text and ("--scale=fit" in text) == (scale == "native")
    assert "--train" not in text and "--data" not in text
    assert predict.depth("a").shape == predict.depth("z").shape == (8, 8)


def test_another_error_of_tensorflow_is_not_taken_for_it(predict):
    with pytest.raises(tf.errors.InvalidArgumentError):
        predict({"large": (8, TOO_LARGE)}, tf.errors.InvalidArgumentError(None, None, "wrong shape"))


def test_depth_beyond_16_bits_is_invalid_and_counted(predict):
    said = predict({"a": (8, 8), "b": (8, 8)}, depth=655.36)
    assert "2 pixels of 2 pictures (first: a) lie beyond 655.35 m" in said and "0 (invalid)" in said
    assert predict.depth("a")[0, 0] == 0 and (predict.depth("a").ravel()[1:] == 500).all()


def test_depth_that_16_bits_hold_needs_no_word(predict):
    assert "warning" not in predict({"a": (8, 8)}, depth=655.35)
    assert predict.depth("a")[0, 0] == 65535


def test_the_warning_stands_beside_an_error_too(predict):
    with pytest.raises(UsageError, match=r"1 of 2 pictures cannot be predicted.*beyond 655\.35 m"):
        predict({"a": (8, 8), "large": (8, TOO_LARGE)}, MemoryError(), depth=1500.0)
