"""The generator makes the same data sets as those that people were seen to have."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.field.generator import FOLDERS

PICTURES = (".png", ".jpg", ".tif", ".bmp", ".webp", ".tiff", ".pfm")


def files_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Relative name -> file."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def kind_of(image: Image.Image) -> tuple:
    """How a picture is stored."""
    return image.format, image.mode, image.size, image.getexif().get(0x0112), image.getpalette()


def content_of(path: pathlib.Path):
    """What is exactly the same in both: values of labels, text, whatever is no picture of the scene."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8")
    if path.suffix == ".npz":
        return {name: value.tolist() for name, value in np.load(path).items()}
    if path.suffix == ".npy":
        return np.load(path).tolist()
    if path.suffix == ".exr":
        from mtl_tf.storage.exr import read_exr

        return read_exr(path, "Z").tolist()
    with Image.open(path) as image:
        return np.asarray(image).tolist()


@pytest.mark.parametrize("name", FOLDERS)
def test_same_as_the_folder_it_stands_for(name, field, shared):
    made, real = files_in(field / name), files_in(shared / "field" / name)
    assert made.keys() == real.keys()
    for file, path in made.items():
        if path.suffix.lower() in PICTURES:
            with Image.open(path) as one, Image.open(real[file]) as other:
                assert kind_of(one) == kind_of(other), file
                if "rgb" in path.parts:
                    pair = [np.asarray(ImageOps.exif_transpose(image), float) for image in (one, other)]
                    assert abs(pair[0] - pair[1]).mean() < 15, file  # the noise is another
        if "rgb" not in path.parts:
            assert content_of(path) == content_of(real[file]), file


def test_every_folder_and_the_truth(field, shared):
    real = {path.name for path in (shared / "field").iterdir() if path.is_dir()}
    assert set(FOLDERS) == real == {path.name for path in field.iterdir() if path.is_dir()}
    assert content_of(field / "truth.npz") == content_of(shared / "field" / "truth.npz")
