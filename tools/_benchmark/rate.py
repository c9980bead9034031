"""The machine's own rate: how fast it does large 3x3 convolutions and nothing else."""

import math
import time

import keras
import numpy as np

# (height, width, channels in and out) of the networks' 3x3 convolutions on an image of 256x256: the decoder's, those
# of the last stage, dilated to stride 16, and those of the first.
SHAPES = ((64, 64, 256), (16, 16, 512), (64, 64, 64))
CHAIN = 4  # convolutions one after another in a call, so that starting it does not count
REPEATS, SECONDS = 5, 0.3  # at least as many calls of each shape, for at least so long
IMAGES = {"CPU": 4, "GPU": 64}
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


def convolution_rates(backend, precision: str, device: str) -> dict[str, float]:
    """Floating-point operations a second, a multiply-add being two: the best of all shapes and calls.

    Args:
        backend: module of the backend.
        precision: train.precision.
        device: name of the device, e.g. "GPU:0".

    Returns:
        By dtype: float32, and that of the precision.
    """
    images = IMAGES.get(device.partition(":")[0], IMAGES["GPU"])
    return {
        dtype: max(_rate(backend, images, shape, dtype) for shape in SHAPES)
        for dtype in dict.fromkeys(("float32", DTYPES[precision]))
    }


def _rate(backend, images, shape, dtype):
    channels = shape[-1]
    random = np.random.default_rng(0)
    inputs = random.normal(size=(images, *shape))
    kernel = random.normal(size=(3, 3, channels, channels)) / math.sqrt(9 * channels)  # keeps the numbers' size

    def convolve(x, kernel):
        for _ in range(CHAIN):
            x = keras.ops.conv(x, kernel, padding="same", data_format="channels_last")
        return x

    convolve = backend.compiled(convolve)
    given = [keras.ops.convert_to_tensor(value, dtype) for value in (inputs, kernel)]
    backend.wait(convolve(*given))
    times, start = [], time.perf_counter()
    while len(times) < REPEATS or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        backend.wait(convolve(*given))
        times.append(time.perf_counter() - before)
    return 2 * CHAIN * images * math.prod(shape) * 9 * channels / min(times)
