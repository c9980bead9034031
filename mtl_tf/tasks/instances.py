"""Which single thing every pixel belongs to; with a segmentation, a panoptic map."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.options import Section, option
from mtl_tf.tasks._ids import IdLabels, IdMap
from mtl_tf.tasks._task import Task

_SIGMA, _SIGMA_AT = 8.0, 1025 * 2049  # pixels, in pictures of so many (Cheng et al., CVPR 2020)
# Of a raw head: so its numbers are about 1, and learnt at the rates that other tasks have, by plain SGD as well.
_HEAT_UNIT, _WAY_UNIT = 0.1, 4.0  # heat; sigmas


@dataclasses.dataclass(frozen=True)
class Instances(IdMap):
    """Instances by their centres (Panoptic-DeepLab, Cheng et al., CVPR 2020); labels are int32, see `mtl_tf.panoptic`.

    The head has the heat of a centre, in tenths, and the way to it, down and right, in units of four sigmas. Beside the
    segmentation that tells things from stuff the answer is a panoptic map, class * 1000 + number, 255000 = void.
    Without one the head has a logit of things more, and the answer is the number alone, 0 = no thing.

    Attributes:
        sigma: of the heat of a centre, pixels.
        centre_weight, offset_weight: of the two terms in the loss.
        smallest_stuff: share of a picture; stuff that covers less is void.
        segmentation: name of the task that classes come from.
        thing_names: its classes that have instances.
        classes, palette: of the segmentation; none without one.
    """

    kind: ClassVar[str] = "instances"
    title: ClassVar[str] = "Instances"

    sigma: float = _SIGMA
    centre_weight: float = 200.0
    offset_weight: float = 0.01
    smallest_stuff: float = 0.0
    segmentation: str = "semseg"
    thing_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    name: str = "instances"

    @property
    def channels(self) -> int:
        """Heat, two ways, and without a segmentation a logit of things."""
        return 3 if self.classes else 4

    def _parts(self, raw):
        """The heat (B, H, W) and the ways (B, H, W, 2), pixels, of a raw head."""
        return _HEAT_UNIT * raw[..., 0], _WAY_UNIT * self.sigma * raw[..., 1:3]

    # === Learning ===

    def loss(self, raw, target) -> tuple:
        """Squared error of the heat, absolute error of the ways, and binary cross-entropy of things, as terms.

        The first and the last count pixels, the second those of instances.
        """
        from keras import ops

        from mtl_tf import losses, panoptic

        valid, there = self.valid(target), self.is_instance(target)
        true_heat, true_ways = panoptic.targets(ops.where(there, target, 0), self.sigma)
        heat, ways = self._parts(raw)
        terms = [
            (self.centre_weight, losses.over_pixels(ops.square(heat - true_heat), valid)),
            (self.offset_weight, losses.over_pixels(ops.sum(ops.abs(ways - true_ways), -1), there)),
        ]
        if not self.classes:
            logits = raw[..., 3]
            terms.append((1.0, losses.over_pixels(ops.softplus(ops.where(there, -logits, logits)), valid)))
        return ops.stack([weight * total for weight, (total, _) in terms]), self.count(target)

    def count(self, target):
        from keras import ops

        masks = self.valid(target), self.is_instance(target)
        pixels, things = (ops.sum(ops.cast(mask, "float32")) for mask in masks)
        return ops.stack([pixels, things] if self.classes else [pixels, things, pixels])

    # === Answers ===

    def decode(self, raw):
        """The numbers of the instances, int32 (B, H, W), of a head that has no segmentation beside it."""
        return self.answers({self.name: raw})[self.name]

    def answers(self, raws, size=None) -> dict:
        """The panoptic map, or the numbers alone: int32 (B, H, W)."""
        from keras import ops

        from mtl_tf import kernels, panoptic

        raw = ops.cast(raws[self.name], "float32")
        # Centres are found in the head as it is: enlarged, a peak of it would be a plateau.
        centres, there = panoptic.peaks(self._parts(raw)[0], self.sigma)
        fine = self.resized(raw, size)
        shapes = [ops.cast(ops.stack(ops.shape(each)[1:3]), "float32") for each in (fine, raw)]
        scale = shapes[0] / shapes[1]
        centres, ways = (ops.cast(centres, "float32") + 0.5) * scale - 0.5, self._parts(fine)[1] * scale
        if not self.classes:
            things = fine[..., 3] > 0
            return {self.name: panoptic.group(ways, centres, there, things)}
        semantic = ops.cast(kernels.argmax(self.resized(raws[self.segmentation], size)), "int32")
        things = ops.take(ops.convert_to_tensor(self.is_thing), semantic)
        numbers = panoptic.group(ways, centres, there, things)
        return {self.name: panoptic.merged(semantic, numbers, self.is_thing, self.smallest_stuff)}

    # === What a network has to beat ===

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Heat and ways, and how many pixels of things and labelled ones there are, (H, W, 5)."""
        from mtl_tf import panoptic

        label = np.asarray(label)
        there, known = self.is_instance(label), self.valid(label)
        heat, ways = (np.asarray(each)[0] for each in panoptic.targets(np.where(there, label, 0)[None], self.sigma))
        return np.concatenate([(heat * known)[..., None], ways, np.stack([there, known], -1)], -1).astype(np.float64)

    def constant(self, sums: np.ndarray):
        """The mean heat and the mean way of each position, and the logit of how often a thing is there."""
        things, pixels = sums[..., 3], sums[..., 4]
        heat = sums[..., 0] / np.maximum(pixels, 1)
        ways = sums[..., 1:3] / np.maximum(things, 1)[..., None]
        odds = np.log(things + 1e-6) - np.log(pixels - things + 1e-6)
        parts = [heat[..., None] / _HEAT_UNIT, ways / (_WAY_UNIT * self.sigma), odds[..., None]]
        return np.concatenate(parts, -1)[..., : self.channels]


@dataclasses.dataclass(frozen=True)
class InstanceLabels(IdLabels):
    """How instances are stored, and what they are instances of."""

    kind: ClassVar[str] = "instances"
    name: ClassVar[str] = "instances"
    task_type: ClassVar[type[Task]] = Instances

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How instances are learnt and told apart."""

        centre_weight: float = option(200.0, "Weight of the heat of centres in the loss.", minimum=0.0, before=200.0)
        offset_weight: float = option(0.01, "Weight of the ways to centres, pixels.", minimum=0.0, before=0.01)
        sigma: float = option(
            0.0,
            "Standard deviation of the heat of a centre, pixels; 0 = 8 at 1025x2049 and in proportion, at least 2.",
            minimum=0.0,
            before=0.0,
        )
        smallest_stuff: float = option(
            0.001, "Share of a picture; stuff that covers less is void.", minimum=0.0, maximum=1.0, before=0.001
        )

    def task(self, name: str, data_set: str, config) -> Instances:
        options = config.task[self.kind]
        size = config.data.crop_size or config.data.image_size
        sigma = options.sigma or max(_SIGMA * (size[0] * size[1] / _SIGMA_AT) ** 0.5, 2.0) if size else _SIGMA
        return self.task_type(
            options.sigma or round(sigma, 3),
            options.centre_weight,
            options.offset_weight,
            options.smallest_stuff,
            self.segmentation,
            self.things,
            name=name,
        )
