"""How files hold depth (quantised inverse depth, scaled metres), directions (colours, axes) and ids. NumPy only."""

import numpy as np

MINIMUM, MAXIMUM = 4.0, 300.0  # metres, the range of the Miniscapes codec

# A code is one of 254 equal steps of inverse depth. The codec truncates; without this nudge a depth that stands exactly
# on a step falls below it by rounding, and decode followed by encode would not give the same code.
_NUDGE = 1e-4


def encode_inverse_uint8(depth, minimum=MINIMUM, maximum=MAXIMUM, clamp=False):
    """The Miniscapes codec: v = floor(1 + 254 (1/z - 1/maximum) / (1/minimum - 1/maximum)).

    Args:
        depth: metres, any shape.
        minimum, maximum: the depths of codes 255 and 1, metres.
        clamp: False (labels): a depth outside the range becomes 0, invalid. True (predictions): it becomes the code of
            the nearer end of the range.

    Returns:
        uint8, the same shape; 0 = invalid. Truncation gives code 255 to depths a little nearer than `minimum` as well
        (3.9845 m to 4 m in the default range). NaN is always invalid.
    """
    depth = np.asarray(depth, np.float64)
    valid = depth > 0  # also False for NaN
    if clamp:
        valid = ~np.isnan(depth)
        depth = np.clip(depth, minimum, maximum)
    inverse = 1.0 / np.where(valid, depth, maximum)
    steps = 254.0 * (inverse - 1.0 / maximum) / (1.0 / minimum - 1.0 / maximum)
    codes = np.floor(1.0 + steps + _NUDGE)
    return np.where(valid & (codes >= 1) & (codes <= 255), codes, 0).astype(np.uint8)


def decode_inverse_uint8(codes, minimum=MINIMUM, maximum=MAXIMUM):
    """Metres (float32) of codes, 0 for code 0: z = 1 / ((1/minimum - 1/maximum) (v - 1) / 254 + 1/maximum)."""
    every = np.arange(256, dtype=np.float64)
    table = 1.0 / ((1.0 / minimum - 1.0 / maximum) * np.maximum(every - 1.0, 0.0) / 254.0 + 1.0 / maximum)
    table[0] = 0.0
    return table.astype(np.float32)[np.asarray(codes, np.uint8)]


def encode_uint16_scaled(depth, scale=0.001):
    """The multiples of `scale` metres nearest to a depth in metres, uint16; 0 = invalid.

    A depth that is not positive, not finite or beyond the 65535th multiple is invalid; one that is valid never rounds
    to 0.
    """
    depth = np.asarray(depth, np.float64)
    valid = np.isfinite(depth) & (depth > 0)
    codes = np.maximum(np.rint(np.where(valid, depth, 0.0) / scale), 1.0)
    return np.where(valid & (codes <= 65535), codes, 0).astype(np.uint16)


def decode_uint16_scaled(codes, scale=0.001):
    """Metres, float32, of 16-bit values: value * scale; 0 = invalid."""
    # The product is taken in float64, so that a depth on the end of the valid range does not round out of it.
    return (np.asarray(codes, np.float64) * scale).astype(np.float32)


def rotated(codes):
    """What 16-bit values d of SUN RGB-D mean, millimetres: (d >> 3) | (d << 13), uint16 (Song et al., CVPR 2015)."""
    codes = np.asarray(codes, np.uint16)
    return (codes >> 3) | (codes << 13)


def depth_of_disparity(disparity, baseline_times_focal):
    """Depth along the optical axis of a rectified pair: z = baseline * focal / disparity.

    Args:
        disparity: pixels, any shape; 0 and less = invalid.
        baseline_times_focal: distance of the cameras, metres, times focal length, pixels.

    Returns:
        float32 metres, the same shape; 0 = invalid.
    """
    valid = disparity > 0
    return np.where(valid, baseline_times_focal / np.where(valid, disparity, 1.0), 0.0).astype(np.float32)


# === Directions ===

# Components of a unit vector in the axes of the camera in memory (x right, y down, z forward): which, and its sign.
AXES = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1), "forward": (2, 1), "to_camera": (2, -1)}
USUAL_AXES = "right,up,to_camera"  # of NYUD-MT and PASCAL-Context (Vandenhende et al., TPAMI 2021), as most files are
# Grey and black, which no unit vector has: pixels without one.
_NONE = np.array([0, 127, 128], np.uint8)


def encode_directions(directions):
    """Unit vectors as 8-bit colours in `USUAL_AXES`: v = round(255 (n + 1) / 2).

    Args:
        directions: in the axes in memory, (..., 3); vectors of a length below 0.5 are none.

    Returns:
        uint8, the same shape; (0, 0, 0) = none.
    """
    stored = np.asarray(directions, np.float64) * [1, -1, -1]
    codes = np.clip(np.rint(127.5 * (stored + 1)), 0, 255)
    return np.where(np.linalg.norm(stored, axis=-1, keepdims=True) > 0.5, codes, 0).astype(np.uint8)


def decode_directions(codes, axes=USUAL_AXES):
    """Unit vectors, float32 (..., 3) in the axes in memory, of 8-bit colours: n = 2 v / 255 - 1, made one long.

    (0, 0, 0), (127, 127, 127) and (128, 128, 128) are the zero vector.
    """
    known = ~((codes[..., :1] == codes).all(-1) & np.isin(codes[..., 0], _NONE))
    table = (np.arange(256) * 2 / 255 - 1).astype(np.float32)
    return to_camera_axes(np.where(known[..., None], table[codes], np.float32(0)), axes)


def to_camera_axes(stored, axes):
    """Unit vectors, float32 (..., 3), of stored ones: in the axes in memory, and zero if not finite or below 0.5 long.

    Args:
        stored: floating-point numbers (..., 3).
        axes: what their components mean, three keys of `AXES` with commas.
    """
    found = np.empty(stored.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for component, name in enumerate(axes.split(",")):
            axis, sign = AXES[name]
            found[..., axis] = sign * stored[..., component]
        length = np.sqrt(np.einsum("...c,...c->...", found, found))
    known = np.isfinite(length) & (length > 0.5)
    return np.divide(found, length[..., None], out=np.zeros_like(found), where=known[..., None])


# === Numbers of instances ===

UNKNOWN_ID = 65535  # of a pixel of which nothing is known
MOST_IDS = 2047  # of a label map; as many more come from a picture that is pasted in
CLASS_STEP = 1000  # a class and a number in one: class * CLASS_STEP + number
