"""How a crop turns directions in space: from the camera axes of the picture to those of the camera that sees the crop.

Camera axes are x to the right, y down and z forward. A crop that is moved and zoomed is seen by the same camera with
another principal point and focal length; one that is tilted, by a camera turned about its axis; a perspective one has
no exact answer, since no camera sees it: the rotation nearest to its map is taken.
"""

import tensorflow as tf

_UNMIRRORED = [1, 0, 3, 2]


def turn_of(quad, mirrored):
    """The rotation of a crop that is not perspective.

    Args:
        quad: float64 (4, 2), corners (x, y) in the picture of the crop's top left, top right, bottom right, bottom
            left.
        mirrored: bool scalar: whether left and right of the crop are exchanged, which the rotation leaves out.

    Returns:
        float32 (3, 3); it takes a direction in the axes of the picture to one in those of the crop.
    """
    quad = unmirrored(quad, mirrored)
    along = quad[1] - quad[0]
    cos, sin = tf.unstack(along / tf.norm(along))
    zero, one = tf.zeros_like(cos), tf.ones_like(cos)
    return tf.cast(tf.stack([[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]]), tf.float32)


def perspective_turn(matrix, size, scale, intrinsics):
    """The rotation nearest to a perspective crop.

    Args:
        matrix: float64 (3, 3), from a pixel (column, row, 1) of the crop, not mirrored, to one of the picture.
        size: int (2,), height and width of the picture, pixels.
        scale: sides of the window that was cut over those of the crop.
        intrinsics: of the camera of the picture (`surfaces.Intrinsics`).

    Returns:
        float32 (3, 3), see `turn_of`: R of K^-1 H K' = R S, K' the camera whose principal point and focal length the
        crop gives it, by the polar decomposition.
    """
    fx, fy, cx, cy, _ = intrinsics.scaled(tf.unstack(tf.cast(size, tf.float64)))
    focal, centre = tf.stack([fx, fy]), tf.stack([cx, cy])
    seen = tf.linalg.solve(matrix, tf.concat([centre, [1.0]], 0)[:, None])[:, 0]
    camera, of_crop = _camera(focal, centre), _camera(focal / scale, seen[:2] / seen[2])
    _, left, right = tf.linalg.svd(tf.linalg.solve(camera, matrix @ of_crop))
    return tf.cast(tf.transpose(left @ tf.transpose(right)), tf.float32)


def _camera(focal, centre):
    return tf.concat([tf.concat([tf.linalg.diag(focal), centre[:, None]], 1), [[0.0, 0.0, 1.0]]], 0)


def unmirrored(quad, mirrored):
    """The corners of a crop with left and right exchanged back, where they are exchanged."""
    return tf.where(mirrored, tf.gather(quad, _UNMIRRORED), quad)
