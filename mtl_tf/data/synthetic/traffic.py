"""What moves or waits: vehicles in the lanes and at the kerb, people on the sidewalks and on the road."""

import math

from mtl_tf.data.synthetic import people, vehicles

# Half the length of each kind in metres, with a margin.
_HALF = {"car": 2.6, "truck": 6.2, "bus": 6.6, "motorcycle": 1.3, "bicycle": 1.1}
_MIX = {"car": 0.79, "truck": 0.05, "bus": 0.05, "motorcycle": 0.06, "bicycle": 0.05}
_MIX_HIGHWAY = {"car": 0.76, "truck": 0.17, "bus": 0.035, "motorcycle": 0.035}


def _add(stage, dice, kind, frame) -> None:
    if kind == "car":
        vehicles.add_car(stage, dice, frame)
    elif kind == "truck":
        vehicles.add_truck(stage, dice, frame)
    elif kind == "bus":
        vehicles.add_bus(stage, dice, frame)
    elif kind == "motorcycle":
        people.add_motorcycle(stage, dice, frame, ridden=True)
    else:
        people.add_bicycle(stage, dice, frame, ridden=True)


def fill_lanes(stage, dice, plan) -> None:
    """Put vehicles into the lanes, onto the crossing road, at the kerb, and a train onto the track."""
    mix = _MIX_HIGHWAY if plan.kind == "highway" else _MIX
    has_train = plan.track is not None and dice.chance(0.65)
    gap = dice.pick((8.0, 20.0, 45.0, 90.0))
    for lane, turn in plan.lanes:
        if has_train and abs(lane - plan.track) < 2.0:
            continue
        ours = abs(lane - plan.camera_lane) < 1.2
        station = dice.uniform(3.0, 8.0) + gap * dice.random() * 0.8
        while station < min(plan.reach, 130):
            kind = dice.weighted(mix)
            middle = station + _HALF[kind] + (1.0 if ours else 0.0)
            if plan.free(middle, _HALF[kind]):
                shift = dice.uniform(-0.35, 0.35)
                _add(stage, dice, kind, plan.road.place(middle, lane + shift, turn + dice.uniform(-0.03, 0.03)))
            station = middle + _HALF[kind] + 2.0 + gap * (0.3 + 1.4 * dice.random())
    if has_train:
        _add_train(stage, dice, plan)
    for side in plan.sides:
        if side.parking is not None:
            _park(stage, dice, plan, side)
    if plan.cross is not None and dice.chance(0.7):
        _cross(stage, dice, plan, mix)


def _add_train(stage, dice, plan) -> None:
    # Its near end lies ahead if the camera drives on the track, perhaps behind if it drives beside.
    ours = abs(plan.track - plan.camera_lane) < 2.6
    near = dice.uniform(6, 30) if ours else dice.uniform(-25, 35)
    vehicles.add_train(stage, dice, lambda at: plan.road.place(near + at, plan.track))


def _park(stage, dice, plan, side) -> None:
    station, full = dice.uniform(3.5, 10.0), dice.uniform(0.4, 0.95)
    turn = 0.0 if side.sign > 0 else math.pi
    while station < min(plan.reach, 75):
        if dice.chance(full) and plan.free(station, 5.0):
            turned = turn + dice.uniform(-0.04, 0.04)
            frame = plan.road.place(station, side.sign * side.parking, turned)
            if dice.chance(0.08):
                people.add_motorcycle(stage, dice, frame, ridden=False)
            else:
                vehicles.add_car(stage, dice, frame)
        station += dice.uniform(5.3, 7.0)


def _cross(stage, dice, plan, mix) -> None:
    """Put vehicles onto the crossing road, seen from their sides."""
    middle = plan.road.crossing.frame
    quarter = 0.48 * plan.road.crossing.half
    for way in (-1, 1):
        at = dice.uniform(-22, 5)
        while at < 22:
            kind = dice.weighted(mix)
            frame = middle.at(at + _HALF[kind], way * quarter, -way * plan.road.flip * math.pi / 2)
            if dice.chance(0.4):
                _add(stage, dice, kind, frame)
            at += 2 * _HALF[kind] + dice.uniform(1, 15)


def fill_walks(stage, dice, plan) -> None:
    """Put people and parked bicycles on the sidewalks, and people crossing the road."""
    place = plan.road.place
    busy = dice.pick((1, 4, 8))
    for side in plan.sides:
        if side.walk is None:
            continue
        low, high = side.walk
        for _ in range(dice.integer(0, busy)):
            station = 5 + 42 * dice.random() ** 1.8
            lateral = side.sign * dice.uniform(low + 0.3, high - 0.3)
            if plan.free(station, -2.0):
                people.add_person(stage, dice, place(station, lateral, dice.uniform(-3.14, 3.14)))
        if dice.chance(0.3):
            station, turn = dice.uniform(5, 22), dice.pick((0.0, 1.2, 1.57))
            lateral = side.sign * dice.uniform(low + 0.6, high - 0.3)
            for number in range(dice.integer(1, 4)):
                at = station + number * (2.0 if turn == 0.0 else 0.75)
                if plan.free(at, 0.5):
                    people.add_bicycle(stage, dice, place(at, lateral, turn + dice.uniform(-0.15, 0.15)), ridden=False)
        if dice.chance(0.11):
            station, lateral = dice.uniform(5, 18), side.sign * (low + 0.7)
            if plan.free(station, 1.0):
                people.add_motorcycle(stage, dice, place(station, lateral, dice.uniform(-1.4, 1.4)), ridden=False)
        if dice.chance(0.2):  # somebody rides along the edge of the carriageway
            station, turn = 5 + 30 * dice.random() ** 1.5, 0.0 if side.sign > 0 else math.pi
            people.add_bicycle(stage, dice, place(station, side.sign * (side.edge - 0.5), turn), ridden=True)
    for low, high in plan.road.zebras:
        for _ in range(dice.integer(0, 4)):
            lateral = dice.uniform(-plan.sides[1].edge, plan.sides[0].edge)
            at = place(max(dice.uniform(low, high), 5.0), lateral, dice.pick((-1, 1)) * dice.uniform(1.2, 1.9))
            if dice.chance(0.85):
                people.add_person(stage, dice, at)
            else:
                people.add_bicycle(stage, dice, at, ridden=True)
