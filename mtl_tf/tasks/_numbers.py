"""A number for every pixel, or several: what all kinds share whose labels are a measured quantity of any sign."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError
from mtl_tf.options import option
from mtl_tf.tasks._labels import Adapted
from mtl_tf.tasks._maps import MapLabels, encoding, named
from mtl_tf.tasks._regions import STEPS, Regions, whitened_steps
from mtl_tf.tasks._task import Metric, PredictedFile, Task

MOST_CHANNELS = 1024  # of numbers in .npy files
NOTHING = -1e38  # of a pixel without a label: a number, so that comparing works as for every other kind
ENCODINGS = {
    "grey": "grey PNG of 8 or 16 bits",
    "rgb8": "8-bit RGB PNG",
    "npy": "numbers (H, W) or (H, W, channels), as numpy.save writes them",
}
METRICS = (Metric("mae", "MAE", 4, higher=False, main=True), Metric("rmse", "RMSE", 4, higher=False, main=True))


def _flat(numbers, channels):
    """Numbers (..., channels) as they stand in maps: (...) of one channel."""
    return numbers[..., 0] if channels == 1 else numbers


@dataclasses.dataclass(frozen=True)
class NumberMap(Task):
    """Numbers of a quantity for every pixel, in its unit; labels are float32, `NOTHING` without one.

    A label map is (B, H, W) of one channel, (B, H, W, channels) of several.

    Attributes:
        mean, std: of each channel over the training split; the head predicts the whitened numbers.
        objective: what is minimised of their error, "l1" or "l2", the mean over pixels and channels.
        unit: stands after a number.
        reduction: what the mean is over, a key of `losses.REDUCTIONS`.
        least: the smallest answer; None = any.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    objective: str = "l1"
    unit: str = ""
    name: str = "numbers"
    reduction: str = "pixels"

    least: ClassVar[float | None] = None
    data_ending: ClassVar[str] = ".npy"

    @property
    def channels(self) -> int:
        """One for each number."""
        return len(self.mean)

    def valid(self, target):
        known = target > NOTHING / 2
        return known if self.channels == 1 else known[..., 0]

    @property
    def regions(self) -> Regions | None:
        """Steps around the mean; of several numbers none."""
        if self.channels > 1:
            return None
        return Regions(STEPS, lambda target: whitened_steps((target - self.mean[0]) / self.std[0]), self.valid)

    def _deep(self, target):
        """With an axis of channels, and of `mean` where there is no label: (B, H, W, channels)."""
        from keras import ops

        target = target[..., None] if self.channels == 1 else target
        return ops.where(target > NOTHING / 2, target, ops.convert_to_tensor(self.mean, "float32"))

    @property
    def units(self) -> dict[str, str]:
        return {self.name: self.unit.strip() or "number"}

    @property
    def tolerance(self) -> float:
        """A fiftieth of the spread of the labels."""
        return float(np.mean(self.std)) / 50

    def decode(self, raw):
        """Numbers, float32 (B, H, W) or (B, H, W, channels)."""
        from keras import ops

        numbers = ops.cast(raw, "float32") * self.std + self.mean
        numbers = numbers if self.least is None else ops.maximum(numbers, self.least)
        return _flat(numbers, self.channels)

    def loss(self, raw, target) -> tuple:
        """The objective over the valid pixels, of whitened numbers; counts pixels, or images."""
        from keras import ops

        from mtl_tf import losses

        valid = self.valid(target)
        error = ops.where(valid[..., None], raw - (self._deep(target) - self.mean) / self.std, 0.0)
        costs = ops.mean(losses.PIXEL_LOSSES[self.objective](error), -1)
        return losses.REDUCTIONS[self.reduction](costs, valid)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(dataclasses.replace(metric, unit=self.unit, group=self.title) for metric in METRICS)

    def compare(self, answer, target) -> dict:
        from mtl_tf import metrics

        return metrics.numbers(self._deep(answer), self._deep(target), self.valid(target))

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """In the unit, pooled over all pixels and channels."""
        from mtl_tf import metrics

        return metrics.number_scores(statistics)

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        numbers = random.normal(self.mean, self.std, (*shape, self.channels)).astype(np.float32)
        return _flat(numbers, self.channels)

    # === Pictures and files ===

    def _drawn(self, values):
        """One number a pixel, NaN without a label: of several channels their length. Float64 (H, W)."""
        values = np.asarray(values, np.float64)
        known = np.asarray(self.valid(values))
        length = values if self.channels == 1 else np.linalg.norm(np.where(known[..., None], values, 0), axis=-1)
        return np.where(known, length, np.nan)

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        """On one linear scale, that of the truth."""
        from mtl_tf import pictures

        first = answer if truth is None else truth
        if first is None:
            return []
        low, high = pictures.number_range(self._drawn(first))
        return named(self, truth, answer, lambda values: pictures.colour_numbers(self._drawn(values), low, high))

    def page(self) -> dict:
        """An error of one standard deviation and more has the last colour."""
        return {"kind": "numbers", "unit": self.unit, "largest": float(np.linalg.norm(self.std))}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        """Codes of two bytes from the smallest to the largest number; 0 = no label."""
        from mtl_tf import pictures

        drawn = self._drawn(values)
        low, high = pictures.number_range(drawn)
        ticks = [[place, f"{low + place * (high - low):.3g}{self.unit}"] for place in (0, 0.25, 0.5, 0.75, 1)]
        return {"pixels": pictures.pack_numbers(drawn, low, high), "low": low, "high": high, "ticks": ticks}

    @property
    def folders(self) -> tuple[str, ...]:
        return self.name, f"{self.name}_picture"

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """The numbers themselves (numpy.load), and a picture of them."""
        picture = self.columns(None, answer)[0][1]
        return [PredictedFile(self.folders[0], np.asarray(answer, np.float32)), PredictedFile(self.folders[1], picture)]

    def histograms(self, truth: np.ndarray, answer: np.ndarray) -> dict[str, np.ndarray]:
        known = np.asarray(self.valid(truth))
        return {f"{self.name}/truth": truth[known].ravel(), f"{self.name}/answer": answer[known].ravel()}

    # === What a network has to beat ===

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Sums of the numbers, and how many, (H, W, channels + 1)."""
        known = np.asarray(self.valid(label))[..., None]
        numbers = label[..., None] if self.channels == 1 else label
        return np.concatenate([np.where(known, numbers, 0), known], -1).astype(np.float64)

    def constant(self, sums: np.ndarray):
        """The mean of each position, whitened."""
        count = sums[..., -1:]
        return np.where(count > 0, (sums[..., :-1] / np.maximum(count, 1) - self.mean) / self.std, 0.0)


def loss_option(what: str):
    """The option "loss" of a kind."""
    return option("l1", f"Loss of {what}.", choices=("l1", "l2"), before="l1")


@dataclasses.dataclass(frozen=True)
class NumberLabels(MapLabels):
    """How numbers are stored: number = scale * stored + offset.

    Attributes:
        encoding: a key of `ENCODINGS`.
        channels: numbers a pixel; of rgb8 the first so many.
        scale, offset: the same of all channels.
        invalid: stored values that say that nothing was measured, where all channels have one; of npy NaN and infinite
            ones too.
        unit: stands after a number, with its space: " m/s".
        mean, std: of each channel over the training split, in the unit; None = not measured yet.
    """

    keys: ClassVar[tuple[str, ...]] = ("encoding", "channels", "scale", "offset", "invalid", "unit", "mean", "std")
    example: ClassVar[str] = '{"encoding": "grey", "scale": 0.01, "invalid": [65535]}'
    dtype: ClassVar[type] = np.float32
    measured: ClassVar[tuple[str, ...]] = ("mean", "std")

    encoding: str = "grey"
    channels: int = 1
    scale: float = 1.0
    offset: float = 0.0
    invalid: tuple[float, ...] = ()
    unit: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def blank(self) -> float:
        return NOTHING

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the label of a pixel."""
        return () if self.channels == 1 else (self.channels,)

    @classmethod
    def parse(cls, entry) -> "NumberLabels":
        found = {
            "encoding": encoding(entry, tuple(ENCODINGS)),
            "channels": entry.take("channels", keys.whole, default=1),
        }
        most = {"grey": 1, "rgb8": 3, "npy": MOST_CHANNELS}[found["encoding"]]
        if not 1 <= found["channels"] <= most:
            entry.fail("channels", f"1 to {most} of {ENCODINGS[found['encoding']]}", found["channels"])
        return cls(
            **found,
            scale=entry.take("scale", keys.positive, default=cls.scale),
            offset=entry.take("offset", keys.number, default=cls.offset),
            invalid=entry.take("invalid", keys.numbers, default=cls.invalid),
            unit=entry.take("unit", keys.text, default=cls.unit),
            mean=entry.take("mean", keys.numbers, default=None),
            std=entry.take("std", keys.numbers, default=None),
        )

    def told(self, name: str) -> str:
        unknown = f"; {', '.join(f'{code:g}' for code in self.invalid)} = no label" if self.invalid else ""
        offset = f" {self.offset:+g}" if self.offset else ""
        channels = f", {self.channels} channels" if self.channels > 1 else ""
        return f"{name}: {self.encoding}{channels}, value x {self.scale:g}{offset}{self.unit}{unknown}"

    @property
    def storage(self) -> tuple:
        return self.encoding, self.channels, self.scale, self.offset, self.invalid

    @property
    def endings(self) -> tuple[str, ...]:
        return (".npy",) if self.encoding == "npy" else super().endings

    def read(self, path, part=None) -> np.ndarray:
        """Numbers, float32 (H, W) or (H, W, channels); `NOTHING` = no label."""
        from mtl_tf.storage import arrays, pixels, windows

        expected = f"{self.kind} in {ENCODINGS[self.encoding]}"
        if self.encoding == "npy":
            stored = arrays.read_numbers(path, expected, self.channels)
        elif self.encoding == "rgb8":
            stored = pixels.read_exact_rgb(path, expected)[..., : self.channels]
        else:
            stored = pixels.read_label_codes(path, expected)[..., None]
        known = np.isfinite(stored).all(-1) & ~np.isin(stored, self.invalid).all(-1)
        numbers = np.where(known[..., None], stored, 0).astype(np.float64) * self.scale + self.offset
        numbers = _flat(np.where(known[..., None], numbers, NOTHING).astype(np.float32), self.channels)
        return windows.cut(numbers, part and part.of(path, numbers.shape[:2]), NOTHING)

    def sums(self, label) -> dict:
        """`moments` of each channel, (3, channels)."""
        from mtl_tf.tasks.reading.moments import moments

        known = (label != NOTHING).reshape(*label.shape[:2], -1).all(-1)
        numbers = label[known].reshape(-1, self.channels)
        return {"numbers": moments(numbers)} if len(numbers) else {}

    @property
    def assumed(self) -> "NumberLabels":
        return dataclasses.replace(self, **dict.fromkeys(self.missing, (1.0,) * self.channels))

    def measured_from(self, sums) -> "NumberLabels":
        found = self.figures(sums)
        return dataclasses.replace(self, mean=tuple(found["mean"]), std=tuple(found["std"]))

    def figures(self, sums) -> dict:
        from mtl_tf.tasks.reading.moments import digits, mean_std

        mean, std = mean_std(sums["numbers"])
        found = {"mean": [digits(float(value)) for value in mean], "std": [digits(float(value)) for value in std]}
        return {"pixels": int(sums["numbers"][0][0]), **found, "unit": self.unit.strip()}

    def listed(self, name: str, sums) -> list[str]:
        from mtl_tf.tasks.reading.moments import row

        found = self.figures(sums)
        names = [name] if self.channels == 1 else [f"{name} {channel}" for channel in range(self.channels)]
        return [row(*line) for line in zip(names, found["mean"], found["std"], strict=True)]

    def adapting(self, other, name: str, their: str, our: str, pairs=()) -> Adapted:
        """Those of the same unit and as many channels."""
        found = super().adapting(other, name, their, our)
        if (other.unit, other.channels) != (self.unit, self.channels):
            told = [f"{each.channels} channels in {each.unit.strip() or 'no unit'}" for each in (other, self)]
            raise UsageError(f"the {name} of {their} has {told[0]}, that of {our} {told[1]}; leave the data set out")
        return found

    def task(self, name: str, data_set: str, config) -> NumberMap:
        self.check_measured(name, data_set)
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise UsageError(
                f"data set {data_set}: {name} has {self.channels} channels and needs as many numbers under mean and "
                f"under std, those above 0; it has {list(self.mean)} and {list(self.std)}: measure them with "
                "tools/dataset_statistics.py --write"
            )
        said = self.said(config, "reduction")
        return self.task_type(self.mean, self.std, config.task[self.kind].loss, self.unit, name=name, **said)
