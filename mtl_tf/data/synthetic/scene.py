"""From a seed and an index to a scene: camera, light, ground, and a list of primitives."""

import dataclasses
import math
import zlib

import numpy as np

from mtl_tf.data.synthetic import layout, roadside, traffic
from mtl_tf.data.synthetic.camera import Camera
from mtl_tf.data.synthetic.dice import Dice
from mtl_tf.data.synthetic.road import Road
from mtl_tf.data.synthetic.shapes import Primitive
from mtl_tf.data.synthetic.textures import Material


@dataclasses.dataclass(frozen=True)
class Light:
    """Weather and camera response; only colours depend on it.

    Attributes:
        sun: unit vector towards the sun (straight up under clouds, for the soft shadows below things).
        direct, ambient: RGB strength of sun and sky light.
        shadow: share of the direct light that a shadow takes away, 0..1.
        horizon, zenith: RGB of the sky.
        clouds: 0 (clear) .. 1 (covered).
        visibility: metres at which haze hides 63 % of a thing.
        exposure: brightness factor.
        balance: RGB gain of the sensor.
        grain: standard deviation of the sensor noise in grey levels of 255.
    """

    sun: tuple[float, float, float]
    direct: tuple[float, float, float]
    ambient: tuple[float, float, float]
    shadow: float
    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]
    clouds: float
    visibility: float
    exposure: float
    balance: tuple[float, float, float]
    grain: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """All that an image shows; `things` numbers the vehicle or person that each primitive with such a label is of."""

    camera: Camera
    light: Light
    road: Road
    primitives: list[Primitive]
    materials: list[Material]
    things: list[int] = dataclasses.field(default_factory=list)


class Stage:
    """Collects primitives and materials while a scene is built."""

    def __init__(self):
        """Start empty."""
        self.primitives: list[Primitive] = []
        self.materials: list[Material] = []
        self.things: list[int] = []
        self._thing = 0

    def paint(self, material: Material) -> int:
        """Keep a material and return its number."""
        self.materials.append(material)
        return len(self.materials) - 1

    def add(self, *primitives: Primitive) -> None:
        """Keep primitives."""
        self.primitives.extend(primitives)
        self.things.extend([self._thing] * len(primitives))

    def begin(self) -> None:
        """Begin a vehicle or a person: what of its classes is kept from now on belongs to it."""
        self._thing += 1


def sample_seed(seed: int, split: str) -> int:
    """Return the seed of a split's scenes, so that the splits of one data set share no scene.

    Args:
        seed: seed of the data set, 0 or more.
        split: name of the split.

    Returns:
        A non-negative integer below 2**63.
    """
    key = np.random.SeedSequence([seed, zlib.crc32(split.encode())])
    return int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))


def build_scene(seed: int, index: int) -> Scene:
    """Build scene number `index` of a seed; it does not depend on any image size."""
    dice = Dice(seed, index, 0)
    light = _light(dice)
    plan = layout.plan_road(dice)
    height = dice.uniform(1.15, 1.8) if dice.chance(0.75) else dice.uniform(1.8, 2.8)
    pitch, roll = dice.uniform(-0.15, 0.11), dice.uniform(-0.05, 0.05)
    camera = Camera.tilted(height, dice.uniform(0.78, 1.3), pitch, roll)
    stage = Stage()
    traffic.fill_lanes(stage, dice, plan)
    roadside.fill_sides(stage, dice, plan)
    traffic.fill_walks(stage, dice, plan)
    roadside.fill_horizon(stage, dice, plan)
    return Scene(camera, light, plan.road, stage.primitives, stage.materials, stage.things)


def _light(dice: Dice) -> Light:
    weather = dice.weighted({"clear": 0.42, "broken": 0.25, "overcast": 0.23, "evening": 0.10})
    azimuth = dice.uniform(0, 2 * math.pi)
    elevation = dice.uniform(0.10, 0.28) if weather == "evening" else dice.uniform(0.35, 1.15)
    flat = math.cos(elevation)
    sun = (flat * math.sin(azimuth), flat * math.cos(azimuth), math.sin(elevation))
    visibility = dice.pick((dice.uniform(120, 300), dice.uniform(300, 900), dice.uniform(900, 3000)))
    grey = dice.uniform(0.72, 0.92)
    if weather == "overcast":
        sun, direct, ambient, shadow = (0.0, 0.0, 1.0), 0.25, 0.72, 0.9
        horizon, zenith = (grey, grey, grey * 1.02), (0.8 * grey, 0.82 * grey, 0.86 * grey)
        tone, clouds = (1, 1, 1), 1.0
    elif weather == "evening":
        direct, ambient, shadow = 0.75, 0.42, 0.9
        horizon, zenith = (0.95, dice.uniform(0.62, 0.78), 0.52), (0.38, 0.46, 0.66)
        tone, clouds = (1.15, 0.9, 0.68), dice.uniform(0.1, 0.7)
    else:
        direct, ambient, shadow = dice.uniform(0.6, 0.85), dice.uniform(0.38, 0.5), dice.uniform(0.8, 1.0)
        horizon = dice.colour((0.74, 0.83, 0.92), 0.06)
        zenith = dice.colour((0.26, 0.46, 0.78), 0.2)
        tone, clouds = (1.05, 1.0, 0.92), 0.1 if weather == "clear" else dice.uniform(0.45, 0.75)
    return Light(
        sun=tuple(round(v, 6) for v in sun),
        direct=tuple(direct * t for t in tone),
        ambient=tuple(ambient * t for t in (0.96, 1.0, 1.06)),
        shadow=shadow,
        horizon=horizon,
        zenith=zenith,
        clouds=clouds,
        visibility=visibility,
        exposure=dice.uniform(0.92, 1.4),
        balance=tuple(dice.uniform(0.95, 1.05) for _ in range(3)),
        grain=dice.uniform(1.0, 5.0),
    )
