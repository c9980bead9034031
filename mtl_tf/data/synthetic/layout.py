"""The plan of a scene: the road with its strips, and what lines its two sides up to the horizon."""

import dataclasses
import math

from mtl_tf.data.synthetic import classes, road, shapes, street, textures
from mtl_tf.data.synthetic.road import Line, Road, Strip
from mtl_tf.data.synthetic.shapes import Frame
from mtl_tf.data.synthetic.textures import Material


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


_KINDS = {"street": 0.36, "suburb": 0.24, "rural": 0.16, "highway": 0.10, "boulevard": 0.14}
_BOUNDARIES = {
    "street": {"houses": 0.66, "wall": 0.13, "fence": 0.11, "hedge": 0.10},
    "suburb": {"fence": 0.30, "hedge": 0.25, "wall": 0.20, "open": 0.25},
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
    wide = {"highway": 3.6, "rural": 3.1}.get(kind, 3.2) + dice.uniform(-0.3, 0.3)
    own = {"highway": dice.integer(2, 3), "boulevard": 2}.get(kind, 1 + dice.chance(0.2))
    other = 0 if kind == "highway" else (0 if dice.chance(0.12) else own)
    shoulder = dice.uniform(0.2, 0.5) if kind != "highway" else dice.uniform(1.0, 2.8)
    lanes = [((i + 0.5) * wide, 0.0) for i in range(own)] + [(-(i + 0.5) * wide, math.pi) for i in range(other)]
    town = kind in ("street", "suburb", "boulevard")
    track = None
    left = other * wide
    if town and dice.chance(0.16):  # a tram track in the lanes, or on a bed of its own on the left
        track = dice.pick((0.5 * wide, -left - 2.0))
    sides, right_strips, left_strips = [], [], []
    for sign, edge, strips in ((1, own * wide, right_strips), (-1, left, left_strips)):
        if sign < 0 and track is not None and track < 0 and track < -left:
            bed = dice.pick(("grass", "gravel", "paved"))
            strips.append((left, _asphalt(dice)) if False else (edge, None))
            strips.append((edge + 4.0, _bed(dice, bed)))
            edge_inner, edge = edge, edge + 4.0
            side = _plan_side(dice, kind, sign, edge, shoulder=0.0, parking=False, strips=strips)
            side.edge = edge_inner
        else:
            side = _plan_side(dice, kind, sign, edge, shoulder, town and dice.chance(0.42), strips)
        sides.append(side)
    lateral = dice.pick([lane for lane, turn in lanes if turn == 0]) + dice.uniform(-0.7, 0.7)
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
    if town and dice.chance(0.45) or dice.chance(0.12):
        _cross(dice, plan)
    _mark(dice, plan, own, other, wide)
    return plan


def _plan_side(dice, kind, sign, edge, shoulder, parking, strips) -> Side:
    """Plan one side from the last lane outward; append (outer limit, strip) to `strips`."""
    at = edge + shoulder
    parked = None
    if parking:
        parked = at + 1.1
        at += 2.2
    strips.append((at, None))  # None: the carriageway
    edge = at
    walk = trees = None
    if kind in ("street", "boulevard") or (kind == "suburb" and dice.chance(0.85)):
        if dice.chance(0.35):
            trees = at + 0.7
            at += dice.uniform(1.2, 3.0 if kind != "boulevard" else 6.0)
            strips.append((at, _grass(dice)))
        walk = (at, at + (dice.uniform(1.6, 5.0) if kind != "suburb" else dice.uniform(1.2, 2.6)))
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


def _bed(dice, bed) -> Strip:
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
            lines.append(Line(flip * (plan.track + offset), 0.12, 0.0, 1.0, (0.16, 0.15, 0.15)))
    zebras = plan.road.zebras
    if plan.cross is not None and dice.chance(0.6):
        low = plan.cross - plan.road.crossing.half - 5.0
        zebras.append((low, low + 3.2))
    elif plan.kind in ("street", "suburb") and dice.chance(0.2):
        low = dice.uniform(7, 30)
        zebras.append((low, low + 3.5))


def fill_sides(stage, dice, plan) -> None:
    """Put boundaries, houses, trees, poles and signs along both sides."""
    for side in plan.sides:
        _fill_boundary(stage, dice, plan, side)
        _fill_behind(stage, dice, plan, side)
        if side.trees is not None:
            station, gap = dice.uniform(4, 16), dice.uniform(7, 14)
            while station < min(plan.reach, 90):
                if plan.free(station, 2) and dice.chance(0.85):
                    street.add_tree(stage, dice, plan.road.place(station, side.sign * side.trees), station > 50)
                station += gap * dice.uniform(0.8, 1.3)
        _fill_furniture(stage, dice, plan, side)
    if plan.cross is not None and plan.road.crossing.end is not None:
        _fill_end(stage, dice, plan)


def _fill_boundary(stage, dice, plan, side) -> None:
    place, sign, kind = plan.road.place, side.sign, side.boundary
    # The frame is turned on the left, so that local x always points away from the road.
    turn = 0.0 if sign > 0 else math.pi
    station = -10.0
    if kind == "houses":
        high = dice.uniform(5, 18)
        while station < plan.reach:
            width = dice.uniform(9, 22)
            middle = station + width / 2
            back = dice.pick((0.0, 0.0, dice.uniform(0, 3)))
            if plan.free(middle, width / 2 + 1.0) and dice.chance(0.93):
                frame = _outward(place(middle, sign * (side.line + back), turn), plan.road.flip)
                tall = high * dice.uniform(0.7, 1.45)
                street.add_building(stage, dice, frame, width, dice.uniform(8, 12), tall)
            station += width + (dice.uniform(2, 9) if dice.chance(0.15) else 0.0)
        return
    if kind == "open":
        return
    style = {"wall": street.wall_style, "fence": street.fence_style}.get(kind, lambda *_: None)(stage, dice)
    size = dice.uniform(0.9, 2.6)
    length = {"wall": 8.0, "fence": 5.0}.get(kind, 0.9 * size)
    stop = min(plan.reach, {"wall": 110, "fence": 75}.get(kind, 45))
    gap = dice.uniform(15, 60) if dice.chance(0.35) else 1e9
    while station < stop:
        middle = station + length / 2
        if plan.free(middle, length / 2) and abs(middle - gap) > 5:
            frame = _outward(place(middle, sign * side.line, turn), plan.road.flip)
            if kind == "wall":
                street.add_wall(stage, style, frame, length + 0.3)
            elif kind == "fence":
                street.add_fence(stage, style, frame, length)
            else:
                street.add_bush(stage, dice, frame, size * dice.uniform(0.85, 1.1))
        station += length


def _outward(frame: Frame, flip: int) -> Frame:
    """Turn a frame about when left and right are exchanged, so that its local x still points off the road."""
    return frame if flip > 0 else Frame(frame.x, frame.y, -frame.cos, -frame.sin)


def _fill_behind(stage, dice, plan, side) -> None:
    place, sign = plan.road.place, side.sign
    turn = 0.0 if sign > 0 else math.pi
    deep = 14.0 if side.boundary == "houses" else 0.0
    if side.behind == "houses" and not deep:
        station, away = dice.uniform(-5, 10), dice.uniform(3, 16)
        while station < plan.reach:
            width = dice.uniform(8, 16)
            if plan.free(station, width / 2 + 2):
                far = side.line + away * dice.uniform(0.8, 1.3)
                frame = _outward(place(station, sign * far, turn), plan.road.flip)
                street.add_building(stage, dice, frame, width, dice.uniform(8, 11), dice.uniform(4, 9))
            station += width + dice.uniform(4, 22)
    count = {"woods": dice.integer(8, 16), "fields": dice.integer(0, 5), "houses": dice.integer(1, 5)}[side.behind]
    for _ in range(count):
        station = 6 + (plan.reach - 6) * dice.random()
        away = side.line + deep + 2.5 + (30 if side.behind == "woods" else 60) * dice.random() ** 2
        if plan.free(station, 2):
            frame = place(station, sign * away)
            if dice.chance(0.75):
                street.add_tree(stage, dice, frame, far=station > 35)
            else:
                street.add_bush(stage, dice, frame, dice.uniform(0.8, 2.4))


def _fill_furniture(stage, dice, plan, side) -> None:
    """Put lamps, signs, bollards and traffic lights at the edge of the carriageway."""
    place, sign = plan.road.place, side.sign
    flip = plan.road.flip
    at = sign * (side.edge + 0.45)
    if plan.kind != "rural" and dice.chance(0.7):
        station, gap = dice.uniform(6, 25), dice.uniform(16, 30)
        while station < min(plan.reach, 110):
            if plan.free(station, 0.5):
                street.add_lamp(stage, dice, place(station, at), -sign * flip * dice.uniform(1.0, 2.4))
            station += gap
    if dice.chance(0.3):  # wooden or concrete posts of overhead wires
        station, gap = dice.uniform(5, 20), dice.uniform(14, 28)
        while station < min(plan.reach, 90):
            if plan.free(station, 0.5):
                street.add_lamp(stage, dice, place(station, sign * (side.line - 0.3)), sign * flip * 0.7)
            station += gap
    for _ in range(dice.pick((0, 1, 1, 2, 3))):
        station = dice.uniform(6, 55)
        if plan.free(station, 0.5):
            street.add_sign(stage, dice, place(station, at + sign * dice.uniform(0, 0.4), dice.uniform(-0.3, 0.3)))
    if side.walk is not None and dice.chance(0.15):
        station = dice.uniform(5, 20)
        for number in range(dice.integer(3, 7)):
            if plan.free(station + 2 * number, 0.2):
                street.add_bollard(stage, dice, place(station + 2 * number, at))
    lights = plan.cross is not None and dice.chance(0.75) or plan.road.zebras and dice.chance(0.4)
    if lights:
        low = plan.road.zebras[0][0] - 0.8 if plan.road.zebras else plan.cross - plan.road.crossing.half - 1.5
        reach = -sign * flip * (dice.uniform(2.0, 4.5) if sign > 0 and dice.chance(0.5) else 0.0)
        street.add_traffic_light(stage, dice, place(low, at), reach)
        if plan.cross is not None and plan.road.crossing.end is None:
            over = plan.cross + plan.road.crossing.half + 1.0
            street.add_traffic_light(stage, dice, place(over, at), 0.0)


def _fill_end(stage, dice, plan) -> None:
    """Close the view behind a T junction with houses, a wall or trees."""
    crossing = plan.road.crossing
    base = crossing.frame.at(0, crossing.half + dice.uniform(1.5, 8.0), -math.pi / 2)
    kind = dice.weighted({"houses": 0.5, "wall": 0.15, "woods": 0.35})
    style = street.wall_style(stage, dice) if kind == "wall" else None
    at = -50.0
    while at < 50:
        if kind == "houses":
            width = dice.uniform(10, 20)
            frame = base.at(0, at + width / 2)
            street.add_building(stage, dice, frame, width, dice.uniform(8, 12), dice.uniform(5, 18))
            at += width + (dice.uniform(2, 8) if dice.chance(0.3) else 0.0)
        elif kind == "wall":
            street.add_wall(stage, style, base.at(0, at + 5), 10.2)
            at += 10
        else:
            street.add_tree(stage, dice, base.at(dice.uniform(0, 9), at))
            at += dice.uniform(3, 9)


def fill_horizon(stage, dice, plan) -> None:
    """Put hills, woods or a skyline far away, all around the view."""
    label = classes.VEGETATION
    if dice.chance(0.35):
        for _ in range(dice.integer(1, 4)):
            far, turn = dice.uniform(500, 1100), dice.uniform(-0.7, 0.7)
            frame = Frame(0, 0, 1, 0).at(0, 0, turn).at(0, far)
            leaf = street.leaf_paint(stage, dice)
            radii = (dice.uniform(200, 600), dice.uniform(80, 200), dice.uniform(25, 110))
            stage.add(shapes.ellipsoid(label, frame, 0.0, radii, leaf, shadow=False))
    kind = dice.weighted({"woods": 0.45, "skyline": 0.3 if plan.kind != "rural" else 0.05, "nothing": 0.25})
    if kind == "woods":
        for _ in range(dice.integer(8, 20)):
            far, turn = dice.uniform(90, 330), dice.uniform(-0.75, 0.75)
            frame = Frame(0, 0, 1, 0).at(0, 0, turn).at(0, far)
            leaf = street.leaf_paint(stage, dice)
            radii = (dice.uniform(8, 28), dice.uniform(4, 10), dice.uniform(4, 11))
            stage.add(shapes.ellipsoid(label, frame, radii[2] * 0.7, radii, leaf, ragged=0.3, shadow=False))
    elif kind == "skyline":
        for _ in range(dice.integer(5, 14)):
            far, turn = dice.uniform(150, 420), dice.uniform(-0.75, 0.75)
            frame = Frame(0, 0, 1, 0).at(0, 0, turn).at(0, far, -math.pi / 2)
            plaster = dice.colour(dice.pick(street.PLASTER), 0.2)
            look = Material(textures.FACADE, plaster, (0.25, 0.29, 0.34), (4.0, 3.4, 0.5, 0.0))
            paint, half, tall = stage.paint(look), dice.uniform(6, 16), dice.uniform(10, 60)
            stage.add(shapes.solid(classes.BUILDING, frame, (0, 12), (-half, half), (0, tall), paint, shadow=False))
