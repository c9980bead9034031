"""Persons, bicycles and motorcycles, with and without a rider."""

from mtl_tf.data.synthetic import classes, shapes, textures
from mtl_tf.data.synthetic.textures import Material

SHIRTS = (
    (0.75, 0.15, 0.15),
    (0.15, 0.25, 0.60),
    (0.85, 0.80, 0.70),
    (0.12, 0.12, 0.14),
    (0.80, 0.60, 0.15),
    (0.25, 0.50, 0.35),
    (0.55, 0.25, 0.50),
    (0.45, 0.45, 0.48),
)
TROUSERS = ((0.12, 0.15, 0.26), (0.10, 0.10, 0.11), (0.36, 0.30, 0.22), (0.30, 0.32, 0.35))
SKIN = ((0.82, 0.60, 0.48), (0.62, 0.42, 0.30), (0.36, 0.23, 0.16))
HAIR = ((0.10, 0.07, 0.05), (0.32, 0.20, 0.10), (0.62, 0.48, 0.24), (0.45, 0.44, 0.42))
_FRAMES = ((0.08, 0.08, 0.09), (0.65, 0.12, 0.10), (0.12, 0.42, 0.55), (0.60, 0.62, 0.62), (0.15, 0.40, 0.20))
_TYRE = (0.07, 0.07, 0.08)


def _plain(stage, colour, amplitude=0.12):
    return stage.paint(Material(textures.PLAIN, colour, (0, 0, 0), (amplitude,)))


def add_person(stage, dice, frame):
    """Add a standing or walking person at `frame`."""
    stage.begin()
    size = dice.uniform(0.9, 1.06) * (0.72 if dice.chance(0.08) else 1.0)
    shirt, trousers = dice.colour(dice.pick(SHIRTS), 0.25), dice.colour(dice.pick(TROUSERS), 0.25)
    cloth, leg = _plain(stage, shirt), _plain(stage, trousers)
    skin = dice.colour(dice.pick(SKIN), 0.1)
    face = stage.paint(Material(textures.HEAD, skin, dice.pick(HAIR)))
    stride, label = dice.uniform(0.0, 0.24), classes.PERSON
    for side in (-1, 1):
        foot = frame.at(side * 0.1 * size, side * stride)
        arm = frame.at(side * 0.25 * size, -side * stride * 0.6)
        knee = (0.085 * size, (0.09 + 0.4 * stride) * size, 0.45 * size)
        stage.add(
            shapes.ellipsoid(label, foot, 0.45 * size, knee, leg),
            shapes.ellipsoid(label, arm, 1.12 * size, (0.06 * size, 0.08 * size, 0.33 * size), cloth, shadow=False),
        )
    stage.add(
        shapes.ellipsoid(label, frame, 1.15 * size, (0.21 * size, 0.14 * size, 0.40 * size), cloth),
        shapes.ellipsoid(label, frame, 1.62 * size, (0.10 * size, 0.11 * size, 0.135 * size), face, shadow=False),
    )
    if dice.chance(0.25):  # a coat or skirt widens the silhouette
        stage.add(shapes.ellipsoid(label, frame, 0.82 * size, (0.22 * size, 0.17 * size, 0.3 * size), cloth))


def _rider(stage, dice, frame, seat, lean):
    """Add a seated rider whose seat is `seat` metres high, leaning `lean` metres ahead."""
    shirt, trousers = dice.colour(dice.pick(SHIRTS), 0.25), dice.colour(dice.pick(TROUSERS), 0.25)
    cloth, leg = _plain(stage, shirt), _plain(stage, trousers)
    helmet = dice.pick(((0.85, 0.85, 0.85), (0.1, 0.1, 0.12), (0.75, 0.2, 0.12), (0.32, 0.2, 0.1)))
    face = stage.paint(Material(textures.HEAD, dice.colour(dice.pick(SKIN), 0.1), helmet))
    label = classes.RIDER
    for side in (-1, 1):
        thigh, shin = frame.at(side * 0.13, 0.10), frame.at(side * 0.13, 0.16 + side * 0.08)
        arm = frame.at(side * 0.25, 0.25 * lean + 0.25)
        stage.add(
            shapes.ellipsoid(label, thigh, seat - 0.02, (0.10, 0.28, 0.12), leg, shadow=False),
            shapes.ellipsoid(label, shin, 0.62 * seat, (0.075, 0.11, 0.36 * seat), leg, shadow=False),
            shapes.ellipsoid(label, arm, seat + 0.32, (0.06, 0.26, 0.13), cloth, shadow=False),
        )
    stage.add(
        shapes.ellipsoid(label, frame.at(0, 0.4 * lean - 0.03), seat + 0.32, (0.22, 0.17, 0.36), cloth),
        shapes.ellipsoid(label, frame.at(0, 0.8 * lean), seat + 0.76, (0.11, 0.13, 0.145), face),
    )


def add_bicycle(stage, dice, frame, ridden: bool):
    """Add a bicycle, with a rider if `ridden`; ahead is its direction of travel."""
    stage.begin()
    label, radius = classes.BICYCLE, dice.uniform(0.32, 0.36)
    paint = _plain(stage, dice.colour(dice.pick(_FRAMES), 0.15))
    tyre = _plain(stage, _TYRE)
    bar = 0.025
    # The plane of the wheels contains the direction of travel: turn the panels by 90 degrees.
    plane = frame.at(0, 0, 1.570796)
    for way in (-1, 1):
        hub = plane.at(-0.52 * way, 0)
        stage.add(
            shapes.panel(label, hub, 2 * radius, (0, 2 * radius), tyre, ("ring", 0.76), shadow=True),
            # A ring has no thickness; these keep the wheel visible from the front and from behind.
            shapes.ellipsoid(label, frame.at(0, 0.52 * way), radius, (0.03, 0.09, radius), tyre, shadow=False),
        )
    stage.add(
        shapes.solid(label, frame, (-bar, bar), (-0.18, 0.42), (0.76, 0.83), paint),
        shapes.solid(label, frame, (-bar, bar), (-0.2, -0.12), (0.3, 0.92), paint),
        shapes.solid(label, frame, (-bar, bar), (0.38, 0.46), (0.35, 1.0), paint),
        shapes.solid(label, frame, (-bar, bar), (-0.5, 0.1), (0.3, 0.38), paint),
        shapes.solid(label, frame, (-0.08, 0.08), (-0.3, -0.02), (0.92, 0.98), tyre),
        shapes.solid(label, frame, (-0.27, 0.27), (0.36, 0.42), (1.0, 1.05), tyre),
    )
    if ridden:
        _rider(stage, dice, frame.at(0, -0.12), 0.95, 0.3)


def add_motorcycle(stage, dice, frame, ridden: bool):
    """Add a motorcycle or scooter, with a rider if `ridden`."""
    stage.begin()
    label, radius = classes.MOTORCYCLE, dice.uniform(0.28, 0.33)
    colour = dice.colour(dice.pick(((0.75, 0.10, 0.08), (0.08, 0.08, 0.09), (0.10, 0.25, 0.62), (0.8, 0.5, 0.1))), 0.15)
    paint, tyre = _plain(stage, colour), _plain(stage, _TYRE)
    metal = _plain(stage, (0.30, 0.30, 0.32), 0.3)
    lamp = stage.paint(Material(textures.PLAIN, (0.85, 0.08, 0.06)))
    glow = stage.paint(Material(textures.PLAIN, (0.97, 0.95, 0.85)))
    for way in (-0.68, 0.68):
        wheel = frame.at(0, way)
        stage.add(shapes.ellipsoid(label, wheel, radius, (0.09, radius, radius), tyre))
    stage.add(
        shapes.ellipsoid(label, frame.at(0, 0.2), 0.78, (0.17, 0.36, 0.18), paint),
        shapes.ellipsoid(label, frame.at(0, -0.45), 0.76, (0.15, 0.45, 0.12), tyre),
        shapes.solid(label, frame, (-0.15, 0.15), (-0.3, 0.35), (0.25, 0.62), metal),
        shapes.solid(label, frame, (-0.14, 0.14), (-0.95, -0.55), (0.55, 0.8), paint, taper=(0.05, 0.0, -0.0)),
        shapes.solid(label, frame, (-0.11, 0.11), (0.5, 0.72), (0.55, 1.0), paint, taper=(0.03, 0.15, 0.0)),
        shapes.solid(label, frame, (-0.38, 0.38), (0.42, 0.48), (0.98, 1.04), tyre),
        shapes.panel(label, frame.at(0, -0.96), 0.2, (0.64, 0.76), lamp),
        shapes.panel(label, frame.at(0, 0.74), 0.2, (0.72, 0.92), glow, ("disc",)),
    )
    if ridden:
        _rider(stage, dice, frame.at(0, -0.2), 0.86, 0.22)
