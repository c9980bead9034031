"""What stands beside a road: houses, walls, fences, trees, poles, signs and traffic lights."""

from mtl_tf.data.synthetic import classes, shapes, textures
from mtl_tf.data.synthetic.textures import Material

PLASTER = (
    (0.74, 0.66, 0.52),
    (0.70, 0.42, 0.30),
    (0.60, 0.56, 0.52),
    (0.78, 0.74, 0.66),
    (0.62, 0.34, 0.27),
    (0.52, 0.48, 0.46),
    (0.72, 0.60, 0.34),
    (0.56, 0.60, 0.62),
)
ROOFS = ((0.46, 0.22, 0.16), (0.30, 0.24, 0.23), (0.36, 0.33, 0.32))
LEAVES = ((0.20, 0.40, 0.11), (0.28, 0.45, 0.13), (0.13, 0.33, 0.14), (0.38, 0.47, 0.17))
BARK = (0.24, 0.18, 0.13)
_WINDOW = (0.20, 0.25, 0.31)


def add_building(stage, dice, frame, width, depth, height):
    """Add a house whose front is at `frame`, `width` metres along it, and which lies on local x > 0."""
    plaster = dice.colour(dice.pick(PLASTER), 0.16)
    numbers = (dice.uniform(1.8, 3.6), dice.uniform(2.8, 3.6), dice.uniform(0.4, 0.68), dice.random())
    facade = stage.paint(Material(textures.FACADE, plaster, dice.colour(_WINDOW, 0.3), numbers))
    tiles = stage.paint(Material(textures.TILES, dice.colour(dice.pick(ROOFS), 0.2), (0, 0, 0), (0.35,)))
    half = width / 2
    stage.add(shapes.solid(classes.BUILDING, frame, (0, depth), (-half, half), (0, height), facade))
    if height < 14 and dice.chance(0.8):
        eaves, rise = 0.4, dice.uniform(2.0, 4.0)
        x, y, z = (-eaves, depth + eaves), (-half - eaves, half + eaves), (height, height + rise)
        gable = dice.uniform(0.0, 0.4) if dice.chance(0.6) else dice.uniform(1.5, min(3.0, half))
        if dice.chance(0.6):
            taper = (depth / 2 + eaves, gable, gable)
        else:
            taper = (min(gable, depth / 2), half + eaves, half + eaves)
        stage.add(shapes.solid(classes.BUILDING, frame, x, y, z, tiles, taper))
        if dice.chance(0.5):
            at = dice.uniform(0.2, 0.8) * depth
            stage.add(
                shapes.solid(classes.BUILDING, frame, (at, at + 0.7), (-0.5, 0.4), (height, height + rise + 0.9), tiles)
            )
    elif dice.chance(0.5):
        trim = stage.paint(Material(textures.PLAIN, dice.colour(plaster, 0.3), (0, 0, 0), (0.1,)))
        stage.add(
            shapes.solid(
                classes.BUILDING, frame, (-0.35, depth), (-half, half), (height, height + dice.uniform(0.4, 1.0)), trim
            )
        )


def wall_style(stage, dice):
    """Choose a wall: return (material, height in metres, thickness in metres)."""
    if dice.chance(0.5):
        stone = dice.colour(dice.pick(((0.50, 0.46, 0.44), (0.46, 0.40, 0.38), (0.42, 0.42, 0.47))), 0.15)
        numbers = (dice.uniform(0.4, 0.8), dice.uniform(0.2, 0.35), 0.28)
        look = Material(textures.BRICK, stone, dice.colour((0.66, 0.64, 0.62), 0.1), numbers)
    else:
        look = Material(textures.CONCRETE, dice.colour((0.56, 0.56, 0.60), 0.15), (0, 0, 0), (dice.uniform(2, 4),))
    return stage.paint(look), dice.uniform(1.0, 3.6), 0.3


def add_wall(stage, style, frame, length):
    """Add a piece of wall in `style` that runs along the frame's direction on both sides of its origin."""
    material, height, thick = style
    half = length / 2
    stage.add(shapes.solid(classes.WALL, frame, (0, thick), (-half, half), (0, height), material))


def fence_style(stage, dice):
    """Choose a fence: return (kind, material, height in metres)."""
    kind = dice.weighted({"boards": 0.35, "pickets": 0.3, "rail": 0.35})
    if kind == "rail":
        colour, height = dice.colour((0.62, 0.64, 0.66), 0.12), dice.uniform(0.75, 0.95)
    else:
        base = dice.pick(((0.46, 0.30, 0.18), (0.58, 0.42, 0.28), (0.80, 0.74, 0.68), (0.36, 0.24, 0.17)))
        colour, height = dice.colour(base, 0.15), dice.uniform(1.0, 1.9)
    return kind, stage.paint(Material(textures.PLAIN, colour, (0, 0, 0), (0.2,))), height


def add_fence(stage, style, frame, length):
    """Add a piece of fence in `style` along the frame's direction."""
    kind, material, height = style
    half = length / 2
    if kind == "rail":
        stage.add(
            shapes.solid(
                classes.FENCE, frame, (-0.06, 0.06), (-half, half), (height - 0.34, height), material, shadow=False
            ),
            shapes.solid(classes.FENCE, frame, (0.06, 0.16), (-half, -half + 0.12), (0, height), material),
            shapes.solid(classes.FENCE, frame, (0.06, 0.16), (-0.06, 0.06), (0, height), material),
        )
        return
    outline = ("boards", 4, 0.72) if kind == "boards" else ("pickets", 0.3, 0.66)
    plane = frame.at(0, 0, 1.570796)
    stage.add(
        shapes.panel(classes.FENCE, plane, length, (0, height), material, outline, shadow=True),
        shapes.solid(classes.FENCE, frame, (-0.06, 0.06), (-half, -half + 0.12), (0, height + 0.12), material),
    )


def leaf_paint(stage, dice, grain=9.0):
    """Return the material of one plant's leaves; `grain` is their noise's cells per metre."""
    colour = dice.colour(dice.pick(LEAVES), 0.25)
    light = tuple(min(1.0, 1.3 * c + 0.03) for c in colour)
    return stage.paint(Material(textures.LEAVES, colour, light, (grain, dice.uniform(0.5, 0.8))))


def add_tree(stage, dice, frame, far=False):
    """Add a broad-leaved tree, a poplar or a conifer; a far one is made of fewer parts."""
    leaf = leaf_paint(stage, dice)
    bark = stage.paint(Material(textures.PLAIN, dice.colour(BARK, 0.25), (0, 0, 0), (0.4,)))
    form = dice.weighted({"round": 0.65, "tall": 0.2, "cone": 0.15})
    height = dice.uniform(4.5, 11.0)
    stem = dice.uniform(0.22, 0.36) * height if form == "round" else dice.uniform(0.8, 1.6)
    label = classes.VEGETATION
    stage.add(shapes.cylinder(label, frame, (0, stem + 0.8), dice.uniform(0.12, 0.24), bark))
    if form == "cone":
        for number in range(3):
            low = stem + number * 0.26 * (height - stem)
            wide = (1.0 - 0.28 * number) * 0.24 * height
            tall = 0.24 * (height - stem)
            stage.add(shapes.ellipsoid(label, frame, low + tall, (wide, wide, tall), leaf, ragged=0.5))
        return
    middle, up = (stem + height) / 2, (height - stem) / 2
    wide = up * (dice.uniform(0.8, 1.15) if form == "round" else dice.uniform(0.35, 0.5))
    stage.add(shapes.ellipsoid(label, frame, middle, (wide, wide, up), leaf, ragged=0.45))
    for number in range(1 if far else dice.integer(2, 4)):
        turn = dice.uniform(0, 6.28)
        place = frame.at(0, 0, turn).at(0.6 * wide, 0)
        size = dice.uniform(0.5, 0.7)
        rise = middle + dice.uniform(-0.45, 0.5) * up
        radii = (size * wide, size * wide, size * up)
        stage.add(shapes.ellipsoid(label, place, rise, radii, leaf, ragged=0.5, shadow=number < 1))


def add_bush(stage, dice, frame, size):
    """Add a bush about `size` metres high."""
    leaf = leaf_paint(stage, dice)
    radii = (size * dice.uniform(0.6, 1.0), size * dice.uniform(0.6, 1.0), 0.62 * size)
    stage.add(shapes.ellipsoid(classes.VEGETATION, frame, 0.42 * size, radii, leaf, ragged=0.4))


def add_lamp(stage, dice, frame, reach):
    """Add a street lamp whose arm reaches `reach` metres to the right (negative: left)."""
    steel = stage.paint(Material(textures.PLAIN, dice.colour((0.42, 0.44, 0.45), 0.35), (0, 0, 0), (0.1,)))
    height = dice.uniform(5.0, 8.5)
    label, arm = classes.POLE, sorted((0.0, reach))
    stage.add(shapes.cylinder(label, frame, (0, height), dice.uniform(0.07, 0.12), steel))
    if dice.chance(0.75):
        stage.add(shapes.solid(label, frame, arm, (-0.05, 0.05), (height - 0.1, height), steel, shadow=False))
        head = sorted((0.75 * reach, 1.1 * reach))
        stage.add(shapes.solid(label, frame, head, (-0.12, 0.12), (height - 0.16, height + 0.02), steel, shadow=False))


def add_bollard(stage, dice, frame):
    """Add a bollard."""
    paint = dice.pick(((0.30, 0.30, 0.31), (0.55, 0.55, 0.55)))
    steel = stage.paint(Material(textures.PLAIN, dice.colour(paint, 0.2), (0, 0, 0), (0.1,)))
    stage.add(shapes.cylinder(classes.POLE, frame, (0, dice.uniform(0.8, 1.1)), 0.09, steel))


_SIGNS = (
    # outline, colour, second colour, style, width, height
    (("disc",), (0.80, 0.06, 0.07), (0.95, 0.95, 0.93), 0, 0.7, 0.7),
    (("disc",), (0.05, 0.22, 0.68), (0.95, 0.95, 0.95), 1, 0.7, 0.7),
    (("diamond",), (0.95, 0.72, 0.05), (0.95, 0.95, 0.9), 5, 0.8, 0.8),
    (("octagon",), (0.78, 0.05, 0.06), (0.95, 0.95, 0.95), 3, 0.8, 0.8),
    (("triangle", 1), (0.82, 0.08, 0.08), (0.95, 0.95, 0.93), 0, 0.9, 0.8),
    (("triangle", -1), (0.82, 0.08, 0.08), (0.95, 0.95, 0.93), 0, 0.9, 0.8),
    (("rectangle",), (0.04, 0.20, 0.62), (0.95, 0.95, 0.95), 1, 0.65, 0.65),
    (("rectangle",), (0.04, 0.22, 0.60), (0.92, 0.93, 0.95), 4, 1.9, 0.9),
    (("rectangle",), (0.93, 0.78, 0.08), (0.08, 0.08, 0.08), 4, 1.6, 0.7),
    (("rectangle",), (0.05, 0.40, 0.22), (0.92, 0.95, 0.92), 4, 2.2, 1.1),
)


def add_sign(stage, dice, frame):
    """Add a traffic sign on a pole, with its face to the back of `frame`."""
    steel = stage.paint(Material(textures.PLAIN, (0.48, 0.49, 0.50), (0, 0, 0), (0.1,)))
    outline, colour, second, style, width, height = dice.pick(_SIGNS)
    grow = dice.uniform(1.0, 1.5)
    width, height, low = width * grow, height * grow, dice.uniform(1.9, 2.5)
    face = stage.paint(Material(textures.SIGN, dice.colour(colour, 0.12), second, (style,)))
    stage.add(
        shapes.cylinder(classes.POLE, frame, (0, low + 0.9 * height), 0.045, steel),
        shapes.panel(classes.TRAFFIC_SIGN, frame.at(0, -0.06), width, (low, low + height), face, outline),
    )
    if dice.chance(0.25):
        extra = stage.paint(Material(textures.SIGN, (0.93, 0.93, 0.9), (0.1, 0.1, 0.1), (4,)))
        stage.add(shapes.panel(classes.TRAFFIC_SIGN, frame.at(0, -0.06), 0.8 * width, (low - 0.42, low - 0.06), extra))


def add_traffic_light(stage, dice, frame, reach):
    """Add a traffic light on a pole, facing back; with an arm over the road if `reach` (metres, signed) is not 0."""
    steel = stage.paint(Material(textures.PLAIN, dice.colour((0.40, 0.41, 0.42), 0.3), (0, 0, 0), (0.1,)))
    box = dice.pick(((0.05, 0.05, 0.055), (0.05, 0.05, 0.055), (0.82, 0.62, 0.08)))
    lit = dice.pick((0, 0, 2, 2, 1))
    glow = ((1.0, 0.10, 0.06), (1.0, 0.70, 0.05), (0.10, 0.95, 0.45))[lit]
    face = stage.paint(Material(textures.LIGHTS, box, glow, (lit,)))
    case = stage.paint(Material(textures.PLAIN, box))
    places = [(frame.at(0.0, -0.2), dice.uniform(2.2, 2.6))]
    top = 3.4
    if reach:
        top = dice.uniform(5.3, 6.0)
        arm = sorted((0.0, reach))
        stage.add(shapes.solid(classes.POLE, frame, arm, (-0.06, 0.06), (top - 0.12, top), steel, shadow=False))
        places.append((frame.at(0.95 * reach, -0.2), top - 1.1))
    stage.add(shapes.cylinder(classes.POLE, frame, (0, top), 0.09, steel))
    for place, low in places:
        stage.add(
            shapes.solid(
                classes.TRAFFIC_LIGHT,
                place,
                (-0.19, 0.19),
                (-0.14, 0.14),
                (low, low + 1.05),
                (case, case, case, face, case, case),
                shadow=False,
            )
        )
