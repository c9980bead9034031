"""Reads samples for a tf.data pipeline: keeps the error that TensorFlow would hide, and goes round bad samples."""

import atexit
import contextlib
import functools
import os
import threading
import time
import weakref

import numpy as np
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Source
from mtl_tf.errors import UsageError
from mtl_tf.storage.windows import Choose, cut_sample

_readers: weakref.WeakSet = weakref.WeakSet()


class Reader:
    """Access to the samples of a source from inside a tf.data graph.

    Attributes:
        bad: file name -> what is wrong with it, of the samples that `data.skip_bad` went round so far.
    """

    def __init__(self, source: Source, config: Config, descriptor: Descriptor):
        self.source, self.descriptor = source, descriptor
        self.tasks = source.reads
        self.skip_bad = config.data.skip_bad
        self.bad: dict[str, str] = {}
        self.parallel = config.data.workers or os.cpu_count() or 1
        self._memory = {} if config.data.cache else None
        self._errors: list[Exception] = []
        self._size: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._calls, self._active, self._closing = 0, 0, False
        _readers.add(self)

    def sample(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        """A sample, or a window of it; raises the UsageError of a bad one."""
        if self._memory is None:
            return self.source.read(index, window)
        if index not in self._memory:
            self._memory[index] = self.source.read(index)
        return cut_sample(self._memory[index], window, self.descriptor.blanks)

    def readable(self, index: int, window: Choose | None = None) -> tuple[int, dict[str, np.ndarray]]:
        """The sample at `index`; with data.skip_bad the next of its data set that can be read. Also says which it is.

        Which sample stands in for a bad one depends on the files alone, so a run can be repeated.
        """
        if not self.skip_bad:
            return index, self.sample(index, window)
        # A mix says where the data set of a sample begins and ends: others would change the shares.
        first, end = self.source.bounds(index)
        for candidate in (*range(index, end), *range(first, index)):
            try:
                if self.source.path(candidate) not in self.bad:
                    return candidate, self.sample(candidate, window)
            except UsageError as error:
                self.bad[self.source.path(candidate)] = str(error)
        raise UsageError(f"none of the {end - first} samples can be read; the first: {next(iter(self.bad.values()))}")

    def demand_one_size(self) -> tuple[int, int]:
        """Makes every sample that differs in size from the first an error, since a batch has one size; returns it."""
        self._size = self.readable(0)[1]["image"].shape[:2]
        return self._size

    def in_graph(self, index, size=(None, None), draws=None, window=None):
        """A sample inside a tf.data graph.

        Args:
            index: int64 scalar tensor.
            size: height and width where all results have the same.
            draws: tensor of the random numbers that `window` needs.
            window: function (draws, size of the picture) -> the `windows.Window` of it that is read; None = all of it.

        Returns:
            A dict of tensors: "image", the labels of the tasks, "index" (of the sample that was read), and "asked",
            whether that is the one that was asked for.
        """
        types = [tf.int64, tf.uint8, *(tf.as_dtype(self.descriptor[task].dtype) for task in self.tasks)]

        def read_one(index, *draws):
            return self._read(int(index), functools.partial(window, *draws) if window else None)

        read, *values = tf.numpy_function(
            read_one, [index] if window is None else [index, draws], types, stateful=False
        )
        read.set_shape(())
        sample = dict(zip(("image", *self.tasks), values, strict=True))
        for name, value in sample.items():
            value.set_shape((*size, *((3,) if name == "image" else self.descriptor[name].shape)))
        return sample | {"index": read, "asked": read == index}

    def _read(self, index, window):
        with self._lock:
            self._calls += 1
            self._active += 1
        try:
            if self._closing:
                raise RuntimeError("the program is ending")
            found, sample = self.readable(index, window)
            self._check_size(found, sample["image"].shape[:2])
            return np.int64(found), *(sample[name] for name in ("image", *self.tasks))
        except UsageError as error:
            # TensorFlow turns it into the text of an error of its own; naming_errors() gives it back.
            self._errors.append(error)
            raise
        finally:
            with self._lock:
                self._active -= 1

    def _check_size(self, index, size):
        if self._size and size != self._size:
            first = f"{self._size[1]}x{self._size[0]}"
            raise UsageError(
                f"{self.source.path(index)} is {size[1]}x{size[0]} pixels, but the first sample is {first}, and a "
                "batch has one size: set --data.image_size=H,W (resize all), or --data.crop_size=H,W (training crops)"
            )

    @contextlib.contextmanager
    def naming_errors(self):
        """Inside, iterating over a pipeline raises the error of the sample itself instead of TensorFlow's."""
        try:
            yield
        except tf.errors.OpError as error:
            # Several samples may have failed in parallel, or have been read ahead; this one is the first in order.
            for known in self._errors:
                if str(known) in str(error):
                    raise known from None
            raise

    def close(self, quiet=0.05, patience=8.0):
        """Refuses further samples and waits until the pipelines have stopped asking for `quiet` seconds."""
        self._closing = True
        deadline = time.monotonic() + patience
        calls = -1
        while (self._active or calls != self._calls) and time.monotonic() < deadline:
            calls = self._calls
            time.sleep(quiet)


@atexit.register
def _close_all():
    # A pipeline reads ahead. If one of its threads enters Python while the interpreter shuts down, the interpreter ends
    # that thread, and the destructor of the pipeline waits for it for ever.
    for reader in list(_readers):
        reader.close()
