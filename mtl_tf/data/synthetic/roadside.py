"""What lines the two sides of a planned road, and what stands at the horizon."""

import math

from mtl_tf.data.synthetic import classes, shapes, street, textures
from mtl_tf.data.synthetic.shapes import Frame
from mtl_tf.data.synthetic.textures import Material


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
        high = dice.uniform(6, 22)
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
        station, away = dice.uniform(-5, 10), dice.uniform(2, 11)
        while station < plan.reach:
            width = dice.uniform(8, 16)
            if plan.free(station, width / 2 + 2):
                far = side.line + away * dice.uniform(0.8, 1.3)
                frame = _outward(place(station, sign * far, turn), plan.road.flip)
                street.add_building(stage, dice, frame, width, dice.uniform(8, 11), dice.uniform(5, 12))
            station += width + dice.uniform(3, 15)
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
    likely = 0.75 if plan.cross is not None else 0.4 if plan.road.zebras else 0.0
    if dice.chance(likely):
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
            leaf = street.leaf_paint(stage, dice, grain=0.35)
            radii = (dice.uniform(200, 600), dice.uniform(80, 200), dice.uniform(25, 110))
            stage.add(shapes.ellipsoid(label, frame, 0.0, radii, leaf, shadow=False))
    kind = dice.weighted({"woods": 0.45, "skyline": 0.3 if plan.kind != "rural" else 0.05, "nothing": 0.25})
    if kind == "woods":
        for _ in range(dice.integer(8, 20)):
            far, turn = dice.uniform(90, 330), dice.uniform(-0.75, 0.75)
            frame = Frame(0, 0, 1, 0).at(0, 0, turn).at(0, far)
            leaf = street.leaf_paint(stage, dice, grain=2.5)
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
