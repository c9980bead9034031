"""What TensorBoard shows under Profile: where the time of some steps went."""

import pathlib

import tensorflow as tf

from mtl_tf.plain_paths import plain_path


class Profile:
    """Profiles some steps. While entered, what it has begun is ended and written however the run ends.

    Args:
        folder: where TensorBoard looks.
        steps: the first and the last of them, or nothing.
    """

    def __init__(self, folder: pathlib.Path, steps: tuple[int, ...]):
        self._folder, (self._first, self._last) = folder, steps or (0, 0)
        self._running = False

    def before(self, step: int):
        """To be called before each step."""
        if step == self._first:
            self._folder.mkdir(parents=True, exist_ok=True)
            tf.profiler.experimental.start(plain_path(self._folder))
            self._running = True

    def after(self, step: int):
        """To be called after each step."""
        if step >= self._last:
            self._end()

    def _end(self):
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()
