"""Pictures are read in the formats that are meant to be, by what they hold and not by their names."""

import io

import numpy as np
import pytest
from PIL import Image

from mtl_tf.errors import UsageError
from mtl_tf.storage.listing import PICTURES
from mtl_tf.storage.pixels import FORMATS, read_rgb, size_of


def encoded(form: str) -> bytes:
    """A picture of 6x4 in this format."""
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_the_formats_that_are_read(tmp_path, form):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(form))
    assert size_of(str(path)) == (4, 6)
    np.testing.assert_array_equal(read_rgb(str(path)), 200)


def test_every_ending_that_is_looked_for_is_of_such_a_format():
    assert {Image.registered_extensions()[ending] for ending in PICTURES} == set(FORMATS)


@pytest.mark.parametrize("form", ["EPS", "GIF", "ICNS", "PDF", "TGA"])
def test_others_are_refused_whatever_their_name_says(tmp_path, form):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(form))
    assert size_of(str(path)) is None
    with pytest.raises(UsageError, match="not a picture in JPEG, PNG, BMP, WEBP, TIFF, PPM"):
        read_rgb(str(path))
