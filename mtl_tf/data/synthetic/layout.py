"""The plan of a scene: the road with its strips, lanes and markings, and what its two sides shall be."""

import dataclasses
import math

from mtl_tf.data.synthetic import classes, road
from mtl_tf.data.synthetic.road import Line, Road, Strip
from mtl_tf.data.synthetic.shapes import Frame


@dataclasses.dataclass
class Side:
    """One side of the road; lateral positions are metres outward from the centre line.

    Attributes:
        sign: 1 right, -1 left.
        edge: where the carriageway ends.
        walk: (low, high) of the sidewalk, or None.
        trees: of a row of trees, or None.
        line: where the boundary runs.
        boundary: houses, wall, fence, hedge or open.
        behind: what lies behind: houses, woods, fields or nothing.
        parking: of the middle of a row of parked cars, or None.
    """

    sign: int
    edge: float
    walk: tuple[float, float] | None
    trees: float | None
    line: float
    boundary: str
    behind: str
    parking: float | None


@dataclasses.dataclass
class Plan:
    """The plan of a scene.

    Attributes:
        kind: street, suburb, rural, highway or boulevard.
        road: the ground.
        sides: right and left.
        lanes: (lateral, turn) of the middle of each lane; turn is 0 or pi.
        camera_lane: lateral position of the camera.
        track: lateral position of a tram track, or None.
        reach: station in metres up to which the sides are filled.
        cross: station of the crossing road, or None.
    """

    kind: str
    road: Road
    sides: list[Side]
    lanes: list[tuple[float, float]]
    camera_lane: float
    track: float | None
    reach: float
    cross: float | None

    def free(self, station: float, half: float) -> bool:
        """Tell whether something `half` metres long to both ways of a station stays off the crossing road."""
        if self.cross is None:
            return True
        crossing = self.road.crossing
        if crossing.end is not None and station + half > self.cross - crossing.half:
            return False
        return abs(station - self.cross) > crossing.half + half + 0.5


_KINDS = {"street": 0.46, "suburb": 0.26, "rural": 0.11, "highway": 0.08, "boulevard": 0.09}
_BOUNDARIES = {
    "street": {"houses": 0.62, "wall": 0.16, "fence": 0.17, "hedge": 0.05},
    "suburb": {"fence": 0.36, "hedge": 0.22, "wall": 0.24, "open": 0.18},
    "rural": {"open": 0.55, "fence": 0.22, "hedge": 0.15, "wall": 0.08},
    "highway": {"fence": 0.55, "wall": 0.30, "open": 0.15},
    "boulevard": {"houses": 0.35, "open": 0.30, "fence": 0.20, "hedge": 0.15},
}
_BEHIND = {
    "street": {"houses": 0.7, "woods": 0.3},
    "suburb": {"houses": 0.8, "woods": 0.2},
    "rural": {"woods": 0.45, "fields": 0.45, "houses": 0.10},
    "highway": {"woods": 0.5, "fields": 0.3, "houses": 0.2},
    "boulevard": {"houses": 0.5, "woods": 0.5},
}


def plan_road(dice) -> Plan:
    """Draw the plan of a scene from `dice`."""
    kind = dice.weighted(_KINDS)
    wide = {"highway": 3.6, "boulevard": 3.2}.get(kind, 3.0) + dice.uniform(-0.3, 0.3)
    own = {"highway": dice.integer(2, 3), "boulevard": 2}.get(kind, 1 + dice.chance(0.12))
    other = 0 if kind == "highway" else (0 if dice.chance(0.28) and kind != "boulevard" else own)
    shoulder = dice.uniform(0.2, 0.5) if kind != "highway" else dice.uniform(1.0, 2.8)
    lanes = [((i + 0.5) * wide, 0.0) for i in range(own)] + [(-(i + 0.5) * wide, math.pi) for i in range(other)]
    town = kind in ("street", "suburb", "boulevard")
    # A tram track runs in the lanes, or on a bed of its own on the left.
    tram = dice.pick(("lanes", "bed")) if town and dice.chance(0.2) else None
    bed = _bed(dice) if tram == "bed" else None
    right_strips, left_strips = [], []
    sides = [
        _plan_side(dice, kind, 1, own * wide + shoulder, None, right_strips),
        _plan_side(dice, kind, -1, other * wide + shoulder, bed, left_strips),
    ]
    track = {None: None, "lanes": 0.5 * wide, "bed": -sides[1].edge - 2.0}[tram]
    lateral = dice.pick([lane for lane, turn in lanes if turn == 0]) + dice.uniform(-0.9, 0.9)
    heading = dice.uniform(-0.10, 0.10) if dice.chance(0.8) else dice.uniform(-0.42, 0.42)
    sharpest = {"highway": 250, "rural": 90}.get(kind, 80)
    curvature = 0.0 if dice.chance(0.3) else round(dice.uniform(-1, 1) / sharpest, 9)
    flip = -1 if dice.chance(0.5) else 1
    c, s = round(math.cos(heading), 6), round(math.sin(heading), 6)
    start = Frame(-c * flip * lateral, s * flip * lateral, c, s)
    ground = Road(start, curvature, flip, wear=dice.uniform(0, 0.7))
    _lay_strips(ground, left_strips, right_strips, _asphalt(dice))
    reach = min(170.0, 1.2 / max(abs(curvature), 1e-9))
    plan = Plan(kind, ground, sides, lanes, lateral, track, reach, None)
    if dice.chance(0.45 if town else 0.12):
        _cross(dice, plan)
    _mark(dice, plan, own, other, wide)
    return plan


def _plan_side(dice, kind, sign, edge, bed, strips) -> Side:
    """Plan one side from `edge` metres outward, past a tram `bed` if any; append (outer limit, strip) to `strips`."""
    parked = None
    if bed is None and kind in ("street", "suburb", "boulevard") and dice.chance(0.42):
        parked = edge + 1.1
        edge += 2.2
    at = edge
    strips.append((at, None))  # None: the carriageway
    if bed is not None:
        at += 4.0
        strips.append((at, bed))
    walk = trees = None
    if kind in ("street", "boulevard") or (kind == "suburb" and dice.chance(0.85)):
        if dice.chance(0.35):
            trees = at + 0.7
            at += dice.uniform(1.2, 3.0 if kind != "boulevard" else 6.0)
            strips.append((at, _grass(dice)))
        walk = (at, at + (dice.uniform(2.2, 6.0) if kind != "suburb" else dice.uniform(1.5, 3.5)))
        at = walk[1]
        strips.append((at, _slabs(dice)))
        if trees is None and dice.chance(0.35 if kind != "boulevard" else 0.8):
            trees = walk[0] + 0.7
    elif kind == "rural":
        at += dice.uniform(0.5, 4.0)
        trees = at + 1.5 if dice.chance(0.3) else None
    else:
        at += dice.uniform(0.3, 2.0)
    boundary = dice.weighted(_BOUNDARIES[kind])
    if boundary != "houses" and dice.chance(0.4):
        at += dice.uniform(0.5, 6.0)
    strips.append((math.inf, _slabs(dice) if boundary == "houses" else _open_ground(dice, kind)))
    return Side(sign, edge, walk, trees, at, boundary, dice.weighted(_BEHIND[kind]), parked)


def _asphalt(dice) -> Strip:
    grey = dice.uniform(0.24, 0.42)
    tint = dice.uniform(-0.012, 0.02)
    return Strip(classes.ROAD, road.ASPHALT, (grey + tint, grey, grey - tint + 0.01), (0.9 * grey,) * 3)


def _slabs(dice) -> Strip:
    base = dice.pick(((0.62, 0.58, 0.54), (0.60, 0.52, 0.48), (0.66, 0.62, 0.55), (0.56, 0.55, 0.55)))
    colour = dice.colour(base, 0.12)
    return Strip(classes.SIDEWALK, road.SLABS, colour, tuple(0.72 * c for c in colour), dice.uniform(0.4, 1.2))


def _grass(dice) -> Strip:
    colour = dice.colour(dice.pick(((0.30, 0.44, 0.14), (0.38, 0.48, 0.18), (0.44, 0.46, 0.20))), 0.15)
    return Strip(classes.TERRAIN, road.GRASS, colour, (0.48, 0.42, 0.24))


def _open_ground(dice, kind) -> Strip:
    if dice.chance(0.8 if kind != "rural" else 0.65):
        return _grass(dice)
    colour = dice.colour(dice.pick(((0.46, 0.36, 0.24), (0.62, 0.52, 0.28), (0.55, 0.46, 0.34))), 0.15)
    return Strip(classes.TERRAIN, road.SOIL, colour, tuple(0.7 * c for c in colour))


def _bed(dice) -> Strip:
    bed = dice.pick(("grass", "gravel", "paved"))
    if bed == "grass":
        return _grass(dice)
    if bed == "gravel":
        return Strip(classes.TERRAIN, road.GRAVEL, dice.colour((0.46, 0.40, 0.35), 0.12), (0.3, 0.26, 0.23))
    return _asphalt(dice)


def _lay_strips(ground, left, right, asphalt) -> None:
    """Order the strips of both sides, given as (outer limit, strip or None for the carriageway), left to right."""
    outward = [(limit, strip or asphalt) for limit, strip in right]
    inward = [(limit, strip or asphalt) for limit, strip in left]
    if ground.flip < 0:
        outward, inward = inward, outward
    ground.bounds = [-limit for limit, _ in reversed(inward[:-1])] + [limit for limit, _ in outward[:-1]]
    ground.strips = [strip for _, strip in reversed(inward[1:])] + [asphalt] + [s for _, s in outward[1:]]
    ground.middle = len(inward) - 1


def _cross(dice, plan) -> None:
    """Add a crossing road, perhaps as the end of this one."""
    half = dice.uniform(3.2, 6.5)
    plan.cross = min(dice.uniform(14, 70), plan.reach)
    end = None
    if dice.chance(0.4):
        last = plan.road.strips[0 if dice.chance(0.5) else -1]
        plan.road.strips.append(last)
        end = len(plan.road.strips) - 1
    plan.road.crossing = road.Crossing(plan.road.place(plan.cross, 0), half, end)


def _mark(dice, plan, own, other, wide) -> None:
    """Paint the markings and lay the rails."""
    white = (0.92, 0.92, 0.90)
    centre = dice.pick((white, white, (0.90, 0.68, 0.12)))
    flip, lines = plan.road.flip, plan.road.lines
    dash = dice.uniform(6.0, 12.0)
    if plan.kind in ("highway", "boulevard", "rural") or dice.chance(0.7):
        if other:
            lines.append(Line(0.0, 0.14, 0.0 if dice.chance(0.3) else dash, 0.5, centre))
        for i in range(1, max(own, other)):
            for sign, count in ((1, own), (-1, other)):
                if i < count:
                    lines.append(Line(flip * sign * i * wide, 0.13, dash, 0.4, white))
    if plan.kind in ("highway", "rural") or dice.chance(0.3):
        for sign, count in ((1, own), (-1, other)):
            lines.append(Line(flip * sign * (count * wide - 0.0), 0.14, 0.0, 1.0, white))
    if plan.track is not None:
        for offset in (-0.72, 0.72):
            lines.append(Line(flip * (plan.track + offset), 0.12, 0.0, 1.0, (0.16, 0.15, 0.15), rail=True))
    zebras = plan.road.zebras
    if plan.cross is not None and dice.chance(0.6):
        low = plan.cross - plan.road.crossing.half - 5.0
        zebras.append((low, low + 3.2))
    elif plan.kind in ("street", "suburb") and dice.chance(0.2):
        low = dice.uniform(7, 30)
        zebras.append((low, low + 3.5))
