"""Every code of the depth codecs, both ways, and golden values computed by hand."""

import numpy as np
import pytest

from mtl_tf.storage import codecs

EVERY_BYTE = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("bounds", [(4.0, 300.0), (0.1, 10.0), (1.0, 80.0)])
def test_every_inverse_code_survives_decoding_and_encoding(bounds):
    metres = codecs.decode_inverse_uint8(EVERY_BYTE, *bounds)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(codecs.encode_inverse_uint8(metres, *bounds), EVERY_BYTE)
    np.testing.assert_array_equal(codecs.encode_inverse_uint8(metres.astype(np.float64), *bounds), EVERY_BYTE)


def test_decoded_depth_against_the_formula():
    # 1/z = 1/300 + (v - 1)/254 (1/4 - 1/300); at v = 128 half way: 1/z = (1/4 + 1/300)/2, z = 7.894737 m
    metres = codecs.decode_inverse_uint8([0, 1, 128, 255])
    np.testing.assert_allclose(metres, [0.0, 300.0, 7.894737, 4.0], rtol=1e-6)
    assert metres[1] <= 300.0 and metres[3] >= 4.0


def test_encoding_truncates_towards_the_farther_code():
    far, near = codecs.decode_inverse_uint8([100, 101])
    between = np.linspace(near, far, 50)[1:-1]
    assert set(codecs.encode_inverse_uint8(between)) == {100}


def test_labels_outside_the_range_are_invalid():
    depth = [3.98, 3.99, 4.0, 300.0, 301.0, 0.0, -5.0, np.nan, np.inf]
    np.testing.assert_array_equal(codecs.encode_inverse_uint8(depth), [0, 255, 255, 1, 0, 0, 0, 0, 0])


def test_predictions_outside_the_range_are_clamped():
    depth = [0.0, 1.0, 4.0, 300.0, 301.0, np.inf, np.nan]
    np.testing.assert_array_equal(codecs.encode_inverse_uint8(depth, clamp=True), [255, 255, 255, 1, 1, 1, 0])


@pytest.mark.parametrize("scale", [0.001, 0.01, 1 / 256, 1 / 5000])
def test_every_scaled_code_survives_decoding_and_encoding(scale):
    codes = np.arange(65536, dtype=np.uint16)
    metres = codecs.decode_uint16_scaled(codes, scale)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(codecs.encode_uint16_scaled(metres, scale), codes)


def test_scaled_golden_values():
    np.testing.assert_array_equal(codecs.decode_uint16_scaled([0, 1500, 10000]), np.float32([0.0, 1.5, 10.0]))
    depth = [0.0004, 1.5, 65.535, 65.6, -1.0, np.nan, np.inf]
    np.testing.assert_array_equal(codecs.encode_uint16_scaled(depth), [1, 1500, 65535, 0, 0, 0, 0])
