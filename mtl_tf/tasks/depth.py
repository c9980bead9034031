"""How far away every pixel is."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

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
    """

    kind: ClassVar[str] = "depth"
    title: ClassVar[str] = "Depth"

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
    weight: str = "depth_weight"

    @property
    def channels(self) -> int:
        """One number."""
        return 1

    def valid(self, target):
        return (target >= self.minimum) & (target <= self.maximum)

    def encode(self, metres):
        """Whitened target of a depth map in metres; every element must be positive."""
        from keras import ops

        if self.space == "log":
            return (ops.log(metres) - self.log_mean) / self.log_std
        return (metres - self.mean) / self.std

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
        """The objective over the valid pixels of each image, then summed over the images that have any; counts images.

        Invalid pixels are replaced before anything is computed of them: masking afterwards would leave NaN gradients
        (0 * inf).
        """
        from keras import ops

        from mtl_tf import losses

        valid = self.valid(target)
        metres = ops.where(valid, target, self.mean)
        if self.objective == "silog":
            error = ops.where(valid, self._log_metres(raw) - ops.log(metres), 0.0)
            return losses.scale_invariant(error, valid)
        error = ops.where(valid, raw[..., 0] - self.encode(metres), 0.0)
        return losses.mean_by_image(losses.PIXEL_LOSSES[self.objective](error), valid)

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

    def measure(self, raw, target) -> dict:
        from mtl_tf import metrics

        return metrics.distances(self.decode(raw), target, self.valid(target), self.minimum)

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
        from mtl_tf import pictures

        if truth is not None:
            truth = np.where(self.valid(np.asarray(truth)), truth, 0)
        named = {f"true {self.name}": truth, f"predicted {self.name}": answer}
        present = {name: value for name, value in named.items() if value is not None}
        if not present:
            return []
        low, high = pictures.depth_range(next(iter(present.values())), (self.minimum, self.maximum))
        columns = [(name, pictures.fitted(pictures.colour_depth(v, low, high))) for name, v in present.items()]
        name, picture = columns.pop()
        return [*columns, (name, pictures.beside_bar(picture, low, high, self._unit.symbol))]

    @property
    def _unit(self):
        return DEPTH_UNITS[self.unit]

    def page(self) -> dict:
        return {"kind": "depth", "unit": self._unit.symbol}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        """Codes of two bytes, with the range and the ticks of the bar of the one that others are compared with."""
        from mtl_tf import pictures

        values = np.asarray(values, np.float64)
        if truth:
            values = np.where(self.valid(values), values, 0)
        low, high = pictures.depth_range(values, (self.minimum, self.maximum))
        pixels, step = pictures.pack_depth(values, self._unit.step)
        ticks = pictures.depth_ticks(low, high, pictures.PAGE_TICKS, self._unit.symbol)
        ticks = [[round(place, 4), label] for place, label in ticks]
        return {"pixels": pixels, "step": step, "low": low, "high": high, "ticks": ticks}

    @property
    def folders(self) -> tuple[str, ...]:
        codec = (f"{self.name}_codec",) if self.codec == "inverse_uint8" else ()
        return self.name, f"{self.name}_picture", *codec

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """16 bits in steps of the unit (0.01 m), 0 = invalid; a picture with a bar; for Miniscapes' codec 8 bits."""
        from mtl_tf import pictures
        from mtl_tf.data import codecs

        codes = codecs.encode_uint16_scaled(answer, self._unit.step)
        beyond = np.count_nonzero(np.isfinite(answer) & (answer > 0) & (codes == 0))
        bar = pictures.depth_with_bar(answer, *pictures.depth_range(answer), self._unit.symbol)
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
