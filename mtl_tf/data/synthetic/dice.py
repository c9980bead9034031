"""Random numbers for scenes: one stream per key, equal on every machine."""

import numpy as np


class Dice:
    """A stream of random decisions that is a pure function of its key.

    Only the uniform generator of Philox is used and the arithmetic is done on Python floats, because the
    distributions of NumPy may use functions whose last bit differs between processors. Every number is
    rounded to 1e-6 for the same reason.
    """

    def __init__(self, *key: int):
        """Start the stream that belongs to `key` (non-negative integers)."""
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
        self._buffer: list[float] = []

    def random(self) -> float:
        """Return a number in [0, 1)."""
        if not self._buffer:
            self._buffer = self._generator.random(1024).tolist()
        return self._buffer.pop()

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high], rounded to 1e-6."""
        return round(low + (high - low) * self.random(), 6)

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both included."""
        return low + int((high - low + 1) * self.random())

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.random() < probability

    def pick(self, options):
        """Return one of `options`, all equally likely."""
        return options[int(len(options) * self.random())]

    def weighted(self, weights: dict):
        """Return a key of `weights` with a probability proportional to its value."""
        rest = self.random() * sum(weights.values())
        for option, weight in weights.items():
            rest -= weight
            if rest < 0:
                return option
        return option

    def colour(self, base, spread: float) -> tuple[float, float, float]:
        """Return `base` (RGB in 0..1) with brightness, and a little each channel, varied by +-`spread`."""
        gain = self.uniform(1 - spread, 1 + spread)
        tint = 0.3 * spread
        return tuple(min(1.0, max(0.0, c * gain * self.uniform(1 - tint, 1 + tint))) for c in base)
