"""How far away every pixel is."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage import codecs
from mtl_tf.tasks._depth_entries import CODES, SCALED, stored_entries
from mtl_tf.tasks._labels import Adapted, Labels
from mtl_tf.tasks._maps import reduction_option
from mtl_tf.tasks._regions import STEPS, Regions, whitened_steps
from mtl_tf.tasks._task import Metric, PredictedFile, Task

_BY_IMAGE = (
    Metric("si_log_rmse", "SI-logRMSE", higher=False, main=True),
    Metric("abs_rel", "abs rel", 4, higher=False, main=True),
    Metric("sq_rel", "sq rel", 4, higher=False),
    Metric("rmse", "RMSE", 3, " m", higher=False, main=True),
    Metric("rmse_log", "RMSE log", 4, higher=False),
    Metric("log10", "log10", 4, higher=False),
    Metric("mae", "MAE", 3, " m", higher=False),
    Metric("delta1", "\N{GREEK SMALL LETTER DELTA}1", 2, " %", higher=True, main=True),
    Metric("delta2", "\N{GREEK SMALL LETTER DELTA}2", 2, " %", higher=True),
    Metric("delta3", "\N{GREEK SMALL LETTER DELTA}3", 2, " %", higher=True),
)
METRICS = (
    *(dataclasses.replace(metric, group="Depth, mean over images") for metric in _BY_IMAGE),
    *(
        dataclasses.replace(
            metric, name=f"{metric.name}_pixels", per_image=False, main=False, group="Depth, pooled over all pixels"
        )
        for metric in _BY_IMAGE
    ),
)


@dataclasses.dataclass(frozen=True)
class DepthUnit:
    """What the numbers of a depth map mean.

    Attributes:
        symbol: what is printed after a number.
        step: one step of the 16-bit PNG files that predictions are written to.
    """

    symbol: str
    step: float


DEPTH_UNITS = {
    "metres": DepthUnit(" m", 0.01),
    # The 16-bit codes of Cityscapes' disparity files over 65535, the depth of the 7-class protocol: near is large.
    "normalised_disparity": DepthUnit("", 1 / 65535),
}


@dataclasses.dataclass(frozen=True)
class Depth(Task):
    """How far away every pixel is; labels are float32, 0 = no label.

    Metres along the optical axis, unless `unit` says otherwise: then wherever "metres" is said of this task's maps,
    that unit is meant.

    Attributes:
        minimum, maximum: range of valid depth, metres.
        mean, std: of depth over the training split, metres.
        log_mean, log_std: of its natural logarithm.
        space: "linear": the head predicts whitened metres; "log": whitened log metres.
        objective: what is minimised, a key of `losses.PIXEL_LOSSES` or "silog".
        codec: "inverse_uint8" where predictions are also exchanged in the Miniscapes codec.
        unit: a key of `DEPTH_UNITS`.
        reduction: what the mean is over, a key of `losses.REDUCTIONS`.
        gradient_weight: of `losses.gradient_matching` beside the objective, of the same error.
    """

    kind: ClassVar[str] = "depth"
    title: ClassVar[str] = "Depth"
    tolerance: ClassVar[float] = 0.5  # of SI-logRMSE times 100

    minimum: float
    maximum: float
    mean: float
    std: float
    log_mean: float
    log_std: float
    space: str = "linear"
    objective: str = "l2"
    codec: str = "metres"
    unit: str = "metres"
    name: str = "depth"
    reduction: str = "images"
    gradient_weight: float = 0.0

    @property
    def channels(self) -> int:
        """One number."""
        return 1

    def valid(self, target):
        return (target >= self.minimum) & (target <= self.maximum)

    @property
    def regions(self) -> Regions:
        """Steps of the logarithm around its mean; Bruggemann et al., ICCV 2021, have as many from 0.7 to 10 m."""

        def steps(target):
            from keras import ops

            return whitened_steps((ops.log(ops.maximum(target, self.minimum)) - self.log_mean) / self.log_std)

        return Regions(STEPS, steps, self.valid)

    def encode(self, metres):
        """Whitened target of a depth map in metres; every element must be positive."""
        from keras import ops

        if self.space == "log":
            return (ops.log(metres) - self.log_mean) / self.log_std
        return (metres - self.mean) / self.std

    @property
    def units(self) -> dict[str, str]:
        return {self.name: self.unit}

    def decode(self, raw):
        """Metres (B, H, W), clipped to the valid range, of the raw head (B, H, W, 1)."""
        from keras import ops

        raw = ops.cast(raw[..., 0], "float32")
        if self.space == "log":
            # Clipping before exp keeps an untrained head from overflowing.
            low, high = math.log(self.minimum), math.log(self.maximum)
            metres = ops.exp(ops.clip(raw * self.log_std + self.log_mean, low, high))
        else:
            metres = raw * self.std + self.mean
        return ops.clip(metres, self.minimum, self.maximum)

    def loss(self, raw, target) -> tuple:
        """The objective over the valid pixels of each image, and then over images or as many pixels; counts these.

        Invalid pixels are replaced before anything is computed of them: masking afterwards would leave NaN gradients
        (0 * inf).
        """
        from keras import ops

        from mtl_tf import losses

        valid = self.valid(target)
        metres = ops.where(valid, target, self.mean)
        if self.objective == "silog":
            error = ops.where(valid, self._log_metres(raw) - ops.log(metres), 0.0)
            total, count = losses.scale_invariant(error, valid, self.reduction)
        else:
            error = ops.where(valid, raw[..., 0] - self.encode(metres), 0.0)
            total, count = losses.REDUCTIONS[self.reduction](losses.PIXEL_LOSSES[self.objective](error), valid)
        if self.gradient_weight:
            total += self.gradient_weight * losses.gradient_matching(error, valid, self.reduction)[0]
        return total, count

    def _log_metres(self, raw):
        from keras import ops

        if self.space == "log":
            return raw[..., 0] * self.log_std + self.log_mean
        metres = raw[..., 0] * self.std + self.mean
        # Below the floor the logarithm goes on as its tangent, so that negative depths keep a useful gradient.
        floor = 0.5 * self.minimum
        return ops.where(metres > floor, ops.log(ops.maximum(metres, floor)), ops.log(floor) + (metres - floor) / floor)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those in metres are shown in the unit of the task."""
        if self.unit == "metres":
            return METRICS
        metres, unit = DEPTH_UNITS["metres"].symbol, DEPTH_UNITS[self.unit].symbol
        return tuple(dataclasses.replace(m, digits=5, unit=unit) if m.unit == metres else m for m in METRICS)

    def compare(self, answer, target) -> dict:
        from mtl_tf import metrics

        return metrics.distances(answer, target, self.valid(target), self.minimum)

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Per image and then averaged over images; pooled over all pixels as NAME_pixels."""
        from mtl_tf import metrics

        return metrics.distance_scores(statistics)

    @property
    def stated(self) -> dict[str, str]:
        """The unit, unless it is metres."""
        return {} if self.unit == "metres" else {f"{self.name}_unit": self.unit}

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return random.uniform(self.minimum, self.maximum, shape).astype(np.float32)

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        """On one log scale, that of the truth, with a bar beside the last."""
        from mtl_tf import panels, pictures

        if truth is not None:
            truth = np.where(self.valid(np.asarray(truth)), truth, 0)
        named = {f"true {self.name}": truth, f"predicted {self.name}": answer}
        present = {name: value for name, value in named.items() if value is not None}
        if not present:
            return []
        low, high = pictures.depth_range(next(iter(present.values())), (self.minimum, self.maximum))
        columns = [(name, panels.fitted(pictures.colour_depth(v, low, high))) for name, v in present.items()]
        name, picture = columns.pop()
        return [*columns, (name, panels.beside_bar(picture, low, high, self._unit.symbol))]

    @property
    def _unit(self):
        return DEPTH_UNITS[self.unit]

    def page(self) -> dict:
        from mtl_tf import pictures

        return {"kind": "depth", "unit": self._unit.symbol, "largest": pictures.LARGEST_ERROR}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        """Codes of two bytes, with the range and the ticks of the bar of the one that others are compared with."""
        from mtl_tf import panels, pictures

        values = np.asarray(values, np.float64)
        if truth:
            values = np.where(self.valid(values), values, 0)
        low, high = pictures.depth_range(values, (self.minimum, self.maximum))
        pixels, step = pictures.pack_depth(values, self._unit.step)
        ticks = panels.depth_ticks(low, high, panels.PAGE_TICKS, self._unit.symbol)
        ticks = [[round(place, 4), label] for place, label in ticks]
        return {"pixels": pixels, "step": step, "low": low, "high": high, "ticks": ticks}

    @property
    def folders(self) -> tuple[str, ...]:
        codec = (f"{self.name}_codec",) if self.codec == "inverse_uint8" else ()
        return self.name, f"{self.name}_picture", *codec

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """16 bits in steps of the unit (0.01 m), 0 = invalid; a picture with a bar; for Miniscapes' codec 8 bits."""
        from mtl_tf import panels, pictures

        codes = codecs.encode_uint16_scaled(answer, self._unit.step)
        beyond = np.count_nonzero(np.isfinite(answer) & (answer > 0) & (codes == 0))
        bar = panels.depth_with_bar(answer, *pictures.depth_range(answer), self._unit.symbol)
        pixels = [codes, bar]
        if len(self.folders) == 3:
            pixels.append(codecs.encode_inverse_uint8(answer, self.minimum, self.maximum, clamp=True))
        found = [PredictedFile(*pair) for pair in zip(self.folders, pixels, strict=True)]
        return [found[0]._replace(beyond=int(beyond)), *found[1:]]

    @property
    def most_in_files(self) -> str:
        return f"{self._unit.step * 65535:g}{self._unit.symbol}"

    def histograms(self, truth: np.ndarray, answer: np.ndarray) -> dict[str, np.ndarray]:
        named, labelled = f"{self.name}_{self.unit}", truth > 0
        return {f"{named}/truth": truth[labelled], f"{named}/answer": answer[labelled]}

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Sum and number of the valid metres, (H, W, 2)."""
        valid = np.asarray(self.valid(label))
        return np.stack([np.where(valid, label, 0), valid], -1).astype(np.float64)

    def constant(self, sums: np.ndarray):
        from keras import ops

        mean = np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(sums[..., 1], 1), self.mean)
        return self.encode(ops.convert_to_tensor(mean, "float32"))[..., None]


@dataclasses.dataclass(frozen=True)
class DepthOptions(Section):
    """What is minimised, and of what."""

    loss: str = option("l2", "Depth loss.", choices=("l2", "l1", "berhu", "silog"))
    space: str = option(
        "linear", "What the depth head predicts: whitened metres or whitened log metres.", choices=("linear", "log")
    )
    reduction: str = reduction_option("images")
    gradient_weight: float = option(
        0.0,
        "Weight of a term beside the loss: the L1 error of the gradients at four scales (0.5 in MiDaS); 0 = none.",
        minimum=0.0,
        before=0.0,
    )


@dataclasses.dataclass(frozen=True)
class DepthLabels(Labels):
    """How depth is stored; where it says metres, its unit is meant.

    Attributes:
        encoding: one of `_depth_entries.ENCODINGS`. "uint16_rotated" are 16 bits of which the lowest three stand
            first, as SUN RGB-D has them; "npy" are metres as numpy.save writes them, "numbers" a number a pixel in a
            file of any kind that `storage.maps` reads. "disparity" (of a stereo pair, in any of these files) is turned
            into depth by the camera that is stated, else by the reader of a data set that has it.
        unit: what the numbers are, a key of `DEPTH_UNITS`.
        scale: metres a unit of those `SCALED`; pixels a unit of disparity.
        key: name of the array in a file of several, or of the channel; "" = the only one, or Z.
        invalid: stored values besides 0 that say that nothing was measured; of numbers NaN, infinite and negative ones
            do as well.
        mask: the end of the name of a file beside each, which is 0 where nothing was measured; "" = there is none.
        baseline, fx: of disparity, the distance of the two cameras, metres, and their focal length, pixels of the
            label map; 0 = not stated.
        offset: added to disparity, pixels.
        minimum, maximum: range of valid depth, metres; what lies outside has no label.
        mean, std: of depth over the training split, metres; None = not measured yet.
        log_mean, log_std: of its natural logarithm.
    """

    kind: ClassVar[str] = "depth"
    name: ClassVar[str] = "depth"
    keys: ClassVar[tuple[str, ...]] = (
        *("encoding", "unit", "scale", "key", "invalid", "mask", "minimum", "maximum"),
        *("baseline", "fx", "offset"),
        *("mean", "std", "log_mean", "log_std"),
    )
    example: ClassVar[str] = '{"encoding": "uint16_scaled", "scale": 0.001, "minimum": 0.1, "maximum": 10.0}'
    task_type: ClassVar[type[Task]] = Depth
    usual: ClassVar[bool] = True
    Options: ClassVar[type[Section]] = DepthOptions
    dtype: ClassVar[type] = np.float32
    measured: ClassVar[tuple[str, ...]] = ("mean", "std", "log_mean", "log_std")
    noun: ClassVar[str] = "a valid depth"
    eigen: ClassVar[bool] = True

    encoding: str
    unit: str = "metres"
    scale: float = 0.001
    key: str = ""
    invalid: tuple[float, ...] = ()
    mask: str = ""
    baseline: float = 0.0
    fx: float = 0.0
    offset: float = 0.0
    minimum: float = codecs.MINIMUM
    maximum: float = codecs.MAXIMUM
    mean: float | None = None
    std: float | None = None
    log_mean: float | None = None
    log_std: float | None = None

    @property
    def symbol(self) -> str:
        """What is printed after a number."""
        return DEPTH_UNITS[self.unit].symbol

    @classmethod
    def parse(cls, entry) -> "DepthLabels":
        found = stored_entries(entry) | {"unit": entry.take("unit", keys.one_of(*DEPTH_UNITS), default="metres")}
        found["minimum"], found["maximum"] = entry.take("minimum", keys.positive), entry.take("maximum", keys.positive)
        if found["minimum"] >= found["maximum"]:
            entry.fail("maximum", f"more than minimum ({found['minimum']})", found["maximum"])
        kinds = {"mean": keys.positive, "std": keys.positive, "log_mean": keys.number, "log_std": keys.positive}
        return cls(**found, **{key: entry.take(key, kind, default=None) for key, kind in kinds.items()})

    def content(self) -> dict:
        found = dataclasses.asdict(self) | {"invalid": list(self.invalid)}
        usual = {key: not found[key] for key in ("key", "invalid", "mask", "baseline", "fx", "offset")}
        usual |= {"scale": not self.baseline and self.encoding not in SCALED, "unit": self.unit == "metres"}
        return {key: value for key, value in found.items() if value is not None and not usual.get(key)}

    def told(self, name: str) -> str:
        unknown = ", ".join(f"{value:g}" if value % 1 else str(int(value)) for value in (0, *self.invalid))
        unknown += "" if self.encoding in CODES else ", what is negative, infinite or NaN"
        masked = f", nor where NAME{self.mask} is 0" if self.mask else ""
        low, high = f"{self.minimum:g}{self.symbol}", f"{self.maximum:g}{self.symbol}"
        how = {
            "inverse_uint8": f"8 bits, inverse, 255 = {low}, 1 = {high}",
            "uint8_scaled": f"8 bits, value x {self.scale:g}",
            "uint16_scaled": f"16 bits, value x {self.scale:g}",
            "uint16_rotated": f"16 bits, rotated by three, value x {self.scale:g}",
            "disparity": "from disparity",
            "npy": "floats",
            "numbers": f"{self.key or 'numbers'} of any type, value x {self.scale:g}",
        }
        if self.baseline:
            offset = f" {self.offset:+g}" if self.offset else ""
            how["disparity"] = f"{self.baseline:g} m x {self.fx:g} pixels / (value x {self.scale:g}{offset})"
        return f"{name}: {how[self.encoding]}; {unknown} = not measured{masked}; valid {low} to {high}"

    @property
    def storage(self) -> tuple:
        steps = (self.minimum, self.maximum) if self.encoding == "inverse_uint8" else (self.scale,)
        return self.encoding, steps, self.key, self.invalid, self.mask, self.baseline, self.fx, self.offset

    @property
    def endings(self) -> tuple[str, ...]:
        from mtl_tf.storage import maps

        disparity = tuple(dict.fromkeys((*super().endings, *maps.ENDINGS)))
        found = {"npy": (".npy",), "numbers": maps.ENDINGS, "disparity": disparity}
        return found.get(self.encoding, super().endings)

    @property
    def beside(self) -> tuple[str, ...]:
        return (self.mask,) if self.mask else ()

    def read(self, path, part=None) -> np.ndarray:
        """Metres, float32 (H, W); 0 = invalid, as is everything outside the range."""
        from mtl_tf.tasks.reading import depth_files

        return depth_files.read(path, self, part)

    def emptiness(self, path: str, label: np.ndarray) -> list[str]:
        if (label > 0).any():
            return []
        return [f"{path}: no pixel has a valid depth ({self.minimum:g}..{self.maximum:g}{self.symbol})"]

    def seen(self, path: str, label=None) -> dict:
        """Nothing of a label map, whose stored values are not known."""
        from mtl_tf.tasks.reading import suspect_depths

        return suspect_depths.seen(self, path) if label is None else {}

    def suspicions(self, name: str, seen, trained):
        from mtl_tf.tasks.reading import suspect_depths

        return suspect_depths.suspicions(self, name, seen)

    def sums(self, label) -> dict:
        """`moments` of the valid metres, and of their logarithm."""
        from mtl_tf.tasks.reading.moments import moments

        metres = label[label > 0].astype(np.float64)
        return {"metres": moments(metres), "log_metres": moments(np.log(metres))} if metres.size else {}

    def measured_from(self, sums) -> "DepthLabels":
        from mtl_tf.tasks.reading.moments import digits

        found = self.figures(sums)
        return dataclasses.replace(self, **{key: digits(found[key]) for key in self.measured})

    def figures(self, sums) -> dict:
        from mtl_tf.tasks.reading.moments import mean_std

        values = [float(value) for name in ("metres", "log_metres") for value in mean_std(sums[name])]
        return {"pixels": int(sums["metres"][0]), **dict(zip(self.measured, values, strict=True)), "unit": self.unit}

    def listed(self, name: str, sums) -> list[str]:
        from mtl_tf.tasks.reading.moments import row

        found, what = self.figures(sums), f"{name} ({'m' if self.unit == 'metres' else self.unit})"
        return [row(what, found["mean"], found["std"]), row(f"ln {what}", found["log_mean"], found["log_std"])]

    def adapting(self, other, name: str, their: str, our: str, pairs=()) -> Adapted:
        """What lies in the range; of the same unit."""
        from mtl_tf.tasks.reading.depth_files import within_range

        super().adapting(other, name, their, our)
        if other.unit != self.unit:
            raise UsageError(
                f"the {name} of data set {their} is {other.unit}, that of {our} is {self.unit}; leave the data set "
                "out, or train classes only (--tasks=semseg)"
            )
        return Adapted(lambda label: within_range(label, self))

    def moved(self, label, move, config):
        """Metres as a pinhole camera of the same focal length would see the window; 0 what leaves the range."""
        if not config.zoom_depth:
            return label
        import tensorflow as tf

        label = label * tf.cast(move.scale, tf.float32)
        return tf.where((label >= self.minimum) & (label <= self.maximum), label, 0.0)

    @property
    def statistics(self) -> dict[str, float | None]:
        """What targets are whitened by."""
        return {key: getattr(self, key) for key in self.measured}

    def task(self, name: str, data_set: str, config) -> Depth:
        self.check_measured(name, data_set)
        if config.augment.zoom_depth and self.unit != "metres":
            raise UsageError(
                f"augment.zoom_depth scales metres, but the {name} of data set {data_set} is {self.unit}; turn it off"
            )
        return self.task_type(
            minimum=self.minimum,
            maximum=self.maximum,
            **self.statistics,
            space=config.task[self.kind].space,
            objective=config.task[self.kind].loss,
            codec="inverse_uint8" if self.encoding == "inverse_uint8" else "metres",
            unit=self.unit,
            name=name,
            **self.said(config, "reduction", "gradient_weight"),
        )
