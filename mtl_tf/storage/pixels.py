"""Pictures as numbers: reads RGB, label codes and 16-bit values from files, and names what is wrong with a file."""

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays, files
from mtl_tf.storage.strange import whole
from mtl_tf.storage.texts import read_bytes
from mtl_tf.storage.windows import Choose, Part, Window, cut, inside

# Pillow reads many more, some by programs of others (Ghostscript), whatever a file's name says.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
# What Pillow raises on damaged files, depending on where the damage is.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_rgb(path: str) -> np.ndarray:
    """A picture, uint8 (H, W, 3); grey and palette pictures become RGB, transparency is dropped; see `arrays` too."""
    return read_part(path)[0]


def read_part(path: str, choose: Choose | None = None) -> tuple[np.ndarray, Part]:
    """A part of a picture, uint8 (H, W, 3) as of `read_rgb`, black outside, and which it is.

    Args:
        path: of the file.
        choose: from its size to the part that is wanted; None = all.
    """
    if arrays.is_array(path):
        picture = arrays.read_picture(path)
        size = picture.shape[:2]
        part = Part(path, size, choose(size) if choose else None)
        return cut(picture, part.window), part
    image = _open(path)
    if image.mode not in ("RGB", "L", "P", "RGBA"):
        raise _wrong_mode(path, image, "an 8-bit RGB picture")
    size = image.size[::-1]
    part = Part(path, size, choose(size) if choose else None)
    return _pixels(image if image.mode == "RGB" else image.convert("RGB"), part.window), part


def read_codes(path: str, expected: str, part: Part | None = None) -> np.ndarray:
    """The values of an 8-bit picture with one number a pixel, uint8 (H, W); of a palette PNG its indices.

    Args:
        path: of the file: grey, palette, or RGB with three equal channels.
        expected: what it should hold, for the message.
        part: of its picture that is wanted, 0 outside; None = all.
    """
    image = _open_exact(path, expected)
    # Pillow stretches grey values of 2 and 4 bits to 0..255, which would silently change labels.
    if image.mode == "L" and image.info["stored"] != "L":
        raise _wrong_mode(path, image, expected)
    if image.mode in ("RGB", "RGBA", "LA"):
        image = _one_channel(path, image, expected)
    if image.mode not in ("L", "P"):
        raise _wrong_mode(path, image, expected)
    return _pixels(image, _window(path, image, part))


def read_uint16(path: str, expected: str, part: Part | None = None) -> np.ndarray:
    """The values of a 16-bit grey picture, (H, W); for `part` see `read_codes`."""
    image = _open_exact(path, expected)
    if image.mode not in ("I;16", "I;16B"):
        raise _wrong_mode(path, image, expected)
    return _pixels(image, _window(path, image, part))


def read_int32(path: str, expected: str) -> np.ndarray:
    """The values of a picture of whole numbers of 32 bits, int32 (H, W), a TIFF."""
    image = _open_exact(path, expected)
    if image.mode != "I":
        raise _wrong_mode(path, image, expected)
    return np.asarray(image)


def read_numbers(path: str, expected: str) -> np.ndarray:
    """The numbers of a grey picture (H, W), of the type in which they are stored: 8 or 16 bits, or of TIFF and PFM 32.

    Of PFM rows come from the top, and the size of its scale is not looked at, as everywhere.
    """
    image = _open_exact(path, expected)
    if image.mode not in ("L", "I;16", "I;16B", "I", "F") or (image.mode == "L" and image.info["stored"] != "L"):
        raise _wrong_mode(path, image, expected)
    return np.asarray(image)


def read_exact_rgb(path: str, expected: str, part: Part | None = None) -> np.ndarray:
    """The values of an 8-bit RGB picture, uint8 (H, W, 3), none of which a compression has changed.

    Args:
        path: of the file.
        expected: what it should hold, for the message.
        part: of its picture that is wanted, 0 outside; None = all.
    """
    image = _open_exact(path, expected)
    if image.mode not in ("RGB", "RGBA") or _is_cut(image):
        raise _wrong_mode(path, image, expected)
    if image.mode == "RGBA":
        _demand_opaque(path, image)
        image = image.convert("RGB")
    return _pixels(image, _window(path, image, part))


def read_label_codes(path: str, expected: str, smallest: int = 0) -> np.ndarray:
    """The number of every pixel of a label file, uint8, uint16 or int32 (H, W).

    Args:
        path: of the file: grey of 1 to 16 bits, a palette picture (its indices), three equal channels, or a TIFF of
            whole numbers in 32 bits, floating-point ones too.
        expected: what it should hold, for the message.
        smallest: the smallest number that may be.
    """
    image = _open_exact(path, expected)
    if image.mode in ("RGB", "RGBA", "LA"):
        image = _one_channel(path, image, expected)
    codes = np.asarray(image)
    if image.mode == "1":
        return codes.astype(np.uint8)
    if image.mode == "L":
        return codes // _STRETCHED.get(image.info.get("stored"), 1)
    if image.mode == "P":
        return codes
    if image.mode.startswith("I;16"):
        return codes.astype(np.uint16)
    if image.mode not in ("I", "F"):
        raise _wrong_mode(path, image, expected)
    return whole(path, codes, expected, smallest)


_STRETCHED = {"L;2": 85, "L;4": 17}  # by how much Pillow multiplies grey values of 2 and 4 bits


def read_colour_codes(path: str) -> np.ndarray:
    """The colour of every pixel of a label file as one number, red << 16 | green << 8 | blue: int32 (H, W)."""
    expected = "a colour per pixel: an 8-bit RGB or palette picture"
    image = _open_exact(path, expected)
    if image.mode not in ("RGB", "L", "P", "RGBA", "LA", "1") or _is_cut(image):
        raise _wrong_mode(path, image, expected)
    if image.mode in ("RGBA", "LA"):
        _demand_opaque(path, image)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB")).astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _open_exact(path, expected):
    """A picture whose values are those that were saved."""
    image = _open(path)
    if image.info["lossy"]:
        raise UsageError(
            f"{path}: expected {expected}, got a picture whose compression ({image.info['lossy']}) changes values; "
            "make it again as PNG (a mask of two values: at a threshold)"
        )
    return image


def _one_channel(path, image, expected):
    """The grey picture that three equal channels hold."""
    if _is_cut(image):
        raise _wrong_mode(path, image, expected)
    if image.mode in ("RGBA", "LA"):
        _demand_opaque(path, image)
    first, *others = image.split()[: len(image.mode.rstrip("A"))]
    if any(first.tobytes() != other.tobytes() for other in others):
        raise _wrong_mode(path, image, expected)
    return first


def _is_cut(image):
    """Whether Pillow has kept 8 of the 16 bits of each channel, as it does without a word."""
    return image.mode.startswith("RGB") and ";16" in image.info["stored"]


def _demand_opaque(path, image):
    if len(set(image.getchannel("A").getextrema())) > 1:
        raise UsageError(
            f"{path}: some of its pixels are transparent, which may mean anything; save it without transparency"
        )


def palette_of(path: str) -> dict[int, tuple[int, int, int]]:
    """The RGB colours by index of a palette picture; empty where it is none, or cannot be read."""
    try:
        with files.open_file(path) as file, open_picture(file) as image:
            colours = image.getpalette("RGB") if image.mode == "P" else None
    except UNREADABLE:
        return {}
    return dict(enumerate(zip(*[iter(colours)] * 3, strict=True))) if colours else {}


def size_of(path: str) -> tuple[int, int] | None:
    """Height and width by the header of a picture, upright; None where it cannot be read, or is none."""

    def once():
        with files.open_file(path) as file:
            try:
                if arrays.is_array(path):
                    return arrays.size_in(file)
                with open_picture(file) as image:
                    return image.size if _lies(image) else image.size[::-1]
            except UNREADABLE as error:
                if isinstance(error, OSError) and files.may_pass(error):
                    raise
                return None

    try:
        return files.patiently(once, path)
    except (OSError, ValueError):
        return None


def open_picture(source: str | BinaryIO) -> Image.Image:
    """Pillow's picture of a file in one of `FORMATS`, its pixels not read yet.

    Raises:
        One of `UNREADABLE`: it is in none of them, or damaged.
    """
    return Image.open(source, formats=FORMATS)


def _lies(image):
    """Whether a picture that is not loaded yet is turned by a quarter when it is (Pillow's size of a TIFF is so)."""
    return image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)


def _open(path):
    """A decoded picture, upright by its EXIF orientation.

    Of its info, "stored" is how its pixels are stored, "lossy" what has changed them or "".
    """
    content = read_bytes(path)
    try:
        with open_picture(io.BytesIO(content)) as image:
            stored = image.tile[0][3] if image.tile else image.mode
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # upright, as every viewer shows it
            image.info["stored"] = stored if isinstance(stored, str) else stored[0]
            image.info["lossy"] = _lossy(image, content)
            return image
    except Image.UnidentifiedImageError:
        raise UsageError(
            f"{path}: not a picture in {', '.join(FORMATS)} (or damaged at its beginning); replace it"
        ) from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be decoded ({' '.join(str(error).split())}); replace it") from None


def _lossy(image, content):
    """The name of a compression that does not keep values."""
    if image.format == "WEBP":
        return "" if b"VP8L" in content else "lossy WebP"
    return "JPEG" if image.format == "JPEG" or image.info.get("compression") in ("jpeg", "tiff_jpeg") else ""


def _window(path, image, part):
    return part.of(path, image.size[::-1]) if part else None


def _pixels(image, window: Window | None):
    if window and inside(window, image.size[::-1]):
        # Cropped before it becomes an array, since Pillow copies all pixels several times on the way.
        top, left, height, width, _ = window
        image = image.crop((left, top, left + width, top + height))
        window = window._replace(top=0, left=0)
    return cut(np.asarray(image), window)


def _wrong_mode(path, image, expected):
    kinds = {"1": "1-bit", "L": "8-bit grey", "P": "palette", "RGB": "RGB", "RGBA": "RGBA", "LA": "grey with alpha"}
    kinds |= {"F": "32-bit floating-point", "I": "32-bit grey"}
    kind = "16-bit grey" if image.mode.startswith("I;16") else kinds.get(image.mode, f"mode {image.mode}")
    if image.mode == "L" and image.info["stored"] != "L":
        kind = f"grey of less than 8 bits ({image.info['stored']})"
    if _is_cut(image):
        kind = f"16-bit {kind}"
    return UsageError(f"{path}: expected {expected}, got a {kind} picture")
