"""Cars, trucks, buses and trains, each built from a few primitives at a place on the ground."""

from mtl_tf.data.synthetic import classes, shapes, textures
from mtl_tf.data.synthetic.textures import Material

CAR_COLOURS = (
    (0.82, 0.83, 0.85),
    (0.55, 0.57, 0.60),
    (0.10, 0.10, 0.12),
    (0.62, 0.08, 0.09),
    (0.10, 0.20, 0.48),
    (0.16, 0.30, 0.24),
    (0.75, 0.62, 0.42),
    (0.35, 0.37, 0.42),
    (0.80, 0.45, 0.10),
)
TRUCK_COLOURS = ((0.85, 0.85, 0.83), (0.25, 0.42, 0.66), (0.72, 0.25, 0.15), (0.30, 0.48, 0.32), (0.70, 0.66, 0.5))
BUS_COLOURS = ((0.86, 0.66, 0.10), (0.78, 0.14, 0.12), (0.88, 0.42, 0.08), (0.72, 0.10, 0.32))
TRAIN_COLOURS = ((0.90, 0.90, 0.86), (0.12, 0.52, 0.48), (0.16, 0.58, 0.68), (0.56, 0.78, 0.70))
GLASS = (0.16, 0.20, 0.25)
PLASTIC = (0.07, 0.07, 0.08)
_RED_LAMP, _WHITE_LAMP = (0.85, 0.06, 0.05), (0.95, 0.95, 0.88)


def _wheels(stage, label, frame, half_width, axles, radius):
    tyre = stage.paint(Material(textures.PLAIN, (0.06, 0.06, 0.065), (0, 0, 0), (0.2,)))
    hub = stage.paint(Material(textures.PLAIN, (0.42, 0.43, 0.45), (0, 0, 0), (0.2,)))
    for side in (-1, 1):
        for axle in axles:
            place = frame.at(side * (half_width - 0.10), axle)
            stage.add(shapes.ellipsoid(label, place, radius, (0.15, radius, radius), tyre, shadow=False))
            disc = frame.at(side * (half_width + 0.055), axle)
            small = 0.55 * radius
            stage.add(shapes.ellipsoid(label, disc, radius, (0.02, small, small), hub, shadow=False))


def add_car(stage, dice, frame):
    """Add a passenger car or a small van; `frame` is the middle of the car, ahead is its front."""
    stage.begin()
    colour = dice.colour(dice.pick(CAR_COLOURS), 0.2)
    van = dice.chance(0.15)
    half_width = dice.uniform(0.84, 0.92) + 0.08 * van
    half = dice.uniform(1.85, 2.35) + 0.3 * van
    waist, roof = dice.uniform(0.82, 0.98) + 0.12 * van, dice.uniform(1.4, 1.58) + 0.45 * van
    side = stage.paint(Material(textures.CAR_SIDE, colour, PLASTIC))
    front = stage.paint(Material(textures.CAR_END, colour, _WHITE_LAMP, (0,)))
    back = stage.paint(Material(textures.CAR_END, colour, _RED_LAMP, (1,)))
    glass = stage.paint(Material(textures.CABIN, GLASS, colour))
    stage.add(
        shapes.solid(
            classes.CAR,
            frame,
            (-half_width, half_width),
            (-half, half),
            (0.22, waist),
            (side, side, front, back, side, side),
            taper=(0.05, 0.14, 0.06),
        )
    )
    hood = dice.uniform(0.85, 1.25) * (0.7 if van else 1.0)
    boot = 0.06 if van else dice.pick((0.1, 0.1, dice.uniform(0.4, 0.8)))
    stage.add(
        shapes.solid(
            classes.CAR,
            frame,
            (-half_width + 0.07, half_width - 0.07),
            (-half + boot, half - hood),
            (waist, roof),
            glass,
            taper=(0.17, dice.uniform(0.45, 0.8), dice.uniform(0.15, 0.5) if not van else 0.1),
        )
    )
    _wheels(stage, classes.CAR, frame, half_width, (-half + 0.8, half - 0.85), 0.32)


def add_truck(stage, dice, frame):
    """Add a truck with a cab and a box; `frame` is its middle."""
    stage.begin()
    cab = dice.colour(dice.pick(TRUCK_COLOURS), 0.15)
    cargo, band = dice.colour(dice.pick(TRUCK_COLOURS), 0.12), dice.colour(dice.pick(TRUCK_COLOURS), 0.3)
    half, high, box = dice.uniform(3.4, 5.8), dice.uniform(3.0, 3.8), 1.22
    low = dice.uniform(0.4, 0.55)
    cabin = stage.paint(Material(textures.COACH_END, cab, _WHITE_LAMP, (0.48, 0.85, 0, 0)))
    cab_side = stage.paint(Material(textures.COACH_SIDE, cab, cab, (0.52, 0.85, 9.0, 0)))
    bed = stage.paint(Material(textures.CARGO, cargo, band, (dice.uniform(0.4, 0.9), low, low + 0.25)))
    doors = stage.paint(Material(textures.CARGO, cargo, band, (1.2, 0.9, 0.9)))
    dark = stage.paint(Material(textures.PLAIN, (0.13, 0.13, 0.14), (0, 0, 0), (0.2,)))
    lamp = stage.paint(Material(textures.PLAIN, _RED_LAMP))
    stage.add(
        shapes.solid(
            classes.TRUCK,
            frame,
            (-1.15, 1.15),
            (half - 2.0, half),
            (0.45, dice.uniform(2.5, 2.9)),
            (cab_side, cab_side, cabin, dark, cab_side, dark),
            taper=(0.06, 0.25, 0.0),
        ),
        shapes.solid(
            classes.TRUCK,
            frame,
            (-box, box),
            (-half, half - 2.15),
            (1.0, high),
            (bed, bed, bed, doors, bed, dark),
        ),
        shapes.solid(classes.TRUCK, frame, (-0.9, 0.9), (-half + 0.1, half - 1.9), (0.5, 1.0), dark),
        shapes.panel(classes.TRUCK, frame.at(-0.95, -half - 0.02), 0.3, (0.8, 0.98), lamp),
        shapes.panel(classes.TRUCK, frame.at(0.95, -half - 0.02), 0.3, (0.8, 0.98), lamp),
    )
    _wheels(stage, classes.TRUCK, frame, 1.18, (-half + 0.9, -half + 2.0, half - 1.1), 0.5)


def add_bus(stage, dice, frame):
    """Add a city bus; `frame` is its middle."""
    stage.begin()
    colour = dice.colour(dice.pick(BUS_COLOURS), 0.12)
    stripe = dice.colour(dice.pick(((0.9, 0.9, 0.86), (0.2, 0.2, 0.25))), 0.1)
    half, high = dice.uniform(5.0, 6.2), dice.uniform(2.9, 3.2)
    side = stage.paint(Material(textures.COACH_SIDE, colour, stripe, (0.42, 0.8, 1.5, dice.uniform(0, 1))))
    front = stage.paint(Material(textures.COACH_END, colour, _WHITE_LAMP, (0.35, 0.8, 0, 1)))
    back = stage.paint(Material(textures.COACH_END, colour, _RED_LAMP, (0.55, 0.8, 1, 1)))
    stage.add(
        shapes.solid(
            classes.BUS,
            frame,
            (-1.25, 1.25),
            (-half, half),
            (0.3, high),
            (side, side, front, back, side, side),
            taper=(0.04, 0.08, 0.04),
        )
    )
    _wheels(stage, classes.BUS, frame, 1.24, (-half + 2.4, half - 2.5), 0.48)


def add_train(stage, dice, frame_at):
    """Add a tram or train of two to four coaches.

    Args:
        stage: where to add it.
        dice: random numbers.
        frame_at: function that returns the frame of the track at a distance in metres from the near end of the train.
    """
    stage.begin()
    colour = dice.colour(dice.pick(TRAIN_COLOURS), 0.1)
    stripe = dice.colour(dice.pick(((0.08, 0.42, 0.38), (0.12, 0.22, 0.48), (0.10, 0.5, 0.62))), 0.15)
    roof = stage.paint(Material(textures.PLAIN, (0.45, 0.47, 0.48), (0, 0, 0), (0.15,)))
    side = stage.paint(Material(textures.COACH_SIDE, colour, stripe, (0.4, 0.72, 2.2, 1.0)))
    end = stage.paint(Material(textures.COACH_END, stripe, _WHITE_LAMP, (0.42, 0.8, 0, 1)))
    dark = stage.paint(Material(textures.PLAIN, (0.16, 0.16, 0.17), (0, 0, 0), (0.2,)))
    half = dice.uniform(4.2, 6.0)
    high = dice.uniform(3.3, 3.7)
    count = dice.integer(2, 4)
    for number in range(count):
        frame = frame_at(half + number * (2 * half + 0.5))
        tail = 0.5 if number == 0 else 0.0
        nose = 0.5 if number == count - 1 else 0.0
        stage.add(
            shapes.solid(
                classes.TRAIN,
                frame,
                (-1.2, 1.2),
                (-half, half),
                (0.35, high),
                (side, side, end, end, roof, dark),
                taper=(0.08, nose, tail),
            ),
            shapes.solid(classes.TRAIN, frame, (-0.7, 0.7), (-half * 0.6, half * 0.5), (high, high + 0.35), roof),
            shapes.solid(classes.TRAIN, frame, (-1.0, 1.0), (-half + 0.8, half - 0.8), (0.05, 0.35), dark),
        )
        if number:  # bellows between two coaches
            bellows = shapes.solid(classes.TRAIN, frame, (-0.95, 0.95), (-half - 0.5, -half), (0.5, high - 0.25), dark)
            stage.add(bellows)
