"""Random weights and images that NumPy alone can repeat, each drawn from its name; PyTorch is not needed for them."""

import hashlib

import numpy as np


def uniform(name: str, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 numbers that depend on nothing but the arguments: Philox' bits, one subtraction, product and sum."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    values = np.random.Generator(np.random.Philox(key=key)).random(shape, np.float32)
    return (np.float32(low) + values * np.float32(high - low)).astype(np.float32)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of a PyTorch network, of a size that keeps features neither vanishing nor exploding.

    Args:
        name: as in the state_dict.
        shape: as in PyTorch, (out, in, height, width) for convolutions.
    """
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.array(7, np.int64)
    if leaf in ("cls_token", "reg_token", "pos_embed"):
        return uniform(name, -1, 1, shape)
    if len(shape) > 1:
        bound = float(np.sqrt(6.0 / np.prod(shape[1:])))
        return uniform(name, -bound, bound, shape)
    if leaf == "weight":
        # The last norm of a block is small, so that the sum over many blocks stays small too.
        small = name.endswith(("bn3.weight", "bn2.weight"))
        return uniform(name, 0.1, 0.4, shape) if small else uniform(name, 0.6, 1.2, shape)
    return uniform(name, 0.5, 1.5, shape) if leaf == "running_var" else uniform(name, -0.2, 0.2, shape)


def image(height: int, width: int) -> np.ndarray:
    """A picture (1, H, W, 3), RGB 0..255, float32."""
    return uniform(f"image {height}x{width}", 0, 255, (1, height, width, 3))


def feature(channels: int, height: int, width: int) -> np.ndarray:
    """An encoder's feature (1, H, W, channels), not negative."""
    return np.maximum(uniform(f"feature {channels}x{height}x{width}", -1, 1, (1, height, width, channels)), 0)


def positions(name: str, size: int, count: int = 24) -> np.ndarray:
    """Where a flattened feature is sampled."""
    return (uniform(f"positions {name}", 0, 1, (count,)).astype(np.float64) * size).astype(np.int64) % size


def summary(name: str, value: np.ndarray) -> dict:
    """What is kept of a feature (B, H, W, C): shape, mean, standard deviation, largest magnitude, a few values."""
    value = np.asarray(value, np.float64)
    return {
        "shape": list(value.shape),
        "mean": float(value.mean()),
        "std": float(value.std()),
        "largest": float(np.abs(value).max()),
        "values": [float(number) for number in value.reshape(-1)[positions(name, value.size)]],
    }
