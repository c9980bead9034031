"""Surface colours: procedural textures evaluated for all visible points of a kind at once."""

import functools
from typing import NamedTuple

import numpy as np

(
    PLAIN,
    FACADE,
    BRICK,
    LEAVES,
    TILES,
    CAR_SIDE,
    CAR_END,
    CABIN,
    COACH_SIDE,
    COACH_END,
    CARGO,
    SIGN,
    LIGHTS,
    HEAD,
    CONCRETE,
) = range(15)


class Material(NamedTuple):
    """How a surface looks.

    Attributes:
        kind: one of the constants of this module.
        colour, second: RGB in 0..1.
        numbers: up to four numbers whose meaning depends on the kind, see the functions below.
    """

    kind: int
    colour: tuple[float, float, float]
    second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    numbers: tuple[float, ...] = ()

    def row(self) -> tuple[float, ...]:
        """Return the material as a row of 11 numbers."""
        return (self.kind, *self.colour, *self.second, *(self.numbers + (0.0,) * 4)[:4])


class Points(NamedTuple):
    """Visible points of one kind of surface, all arrays of N.

    Attributes:
        u: metres across the face from its middle.
        v: metres above the foot of the primitive.
        half: half the width of the face in metres.
        high: height of the primitive in metres.
        top: True on faces that look up.
        depth: metres.
        primitive: number of the primitive.
        numbers: (4, N).
    """

    u: np.ndarray
    v: np.ndarray
    half: np.ndarray
    high: np.ndarray
    top: np.ndarray
    depth: np.ndarray
    primitive: np.ndarray
    numbers: np.ndarray


@functools.cache
def tiles() -> tuple[np.ndarray, np.ndarray]:
    """Return two repeating (256, 256) float32 noise tiles: white in -1..1, and clouds of several sizes, about -1..1."""
    rng = np.random.Generator(np.random.Philox(key=11))
    white = rng.random((256, 256), dtype=np.float32) * 2 - 1
    clouds = np.zeros((256, 256), np.float32)
    for octave, cells in enumerate((4, 8, 16, 32, 64, 128)):
        grid = rng.random((cells, cells)) * 2 - 1
        at = np.arange(256) * cells / 256
        low, part = at.astype(int), at % 1
        part = part * part * (3 - 2 * part)
        rows = grid[low] * (1 - part)[:, None] + grid[(low + 1) % cells] * part[:, None]
        full = rows[:, low] * (1 - part) + rows[:, (low + 1) % cells] * part
        clouds += (0.62**octave * full).astype(np.float32)
    return white, clouds


def noise(tile: np.ndarray, u: np.ndarray, v: np.ndarray, scale) -> np.ndarray:
    """Look up a noise tile at (u, v) metres with `scale` cells per metre."""
    # The offset keeps the numbers positive for the cast, which rounds towards zero.
    row = (v * scale + 8192).astype(np.int32) & 255
    column = (u * scale + 8192).astype(np.int32) & 255
    return tile[row, column]


def colours(kind: int, points: Points, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the colours (3, N) of points whose material is of `kind`, with its two colours (3, N) given."""
    gain, share = _TEXTURES[kind](points)
    colour = first if share is None else first + share * (second - first)
    return colour * gain


# Each texture returns a brightness factor (N,) and the share of the second colour (N,) or None.


def _plain(p: Points):
    """Plain with a little dirt; numbers: amplitude."""
    return 1 + p.numbers[0] * noise(tiles()[1], p.u, p.v, 12.0), None


def _concrete(p: Points):
    """Stained concrete with joints; numbers: joint distance in metres."""
    gain = 1 + 0.13 * noise(tiles()[1], p.u, p.v, 14.0) + 0.05 * noise(tiles()[0], p.u, p.v, 30.0)
    joint = np.abs(_phase(p.u, p.numbers[0]) - 0.5) * p.numbers[0] < 0.03 + 0.001 * p.depth
    return gain - 0.3 * joint - 0.15 * (p.v < 0.25), None


def _facade(p: Points):
    """Windows on plaster; numbers: cell width, storey height, window share of the cell, seed."""
    white, clouds = tiles()
    storeys = np.maximum(np.rint(p.high / p.numbers[1]), 1)
    cells = np.maximum(np.rint(2 * p.half / p.numbers[0]), 1)
    across = (p.u + p.half) / (2 * p.half) * cells
    up = p.v / p.high * storeys
    cell, storey = np.floor(across), np.floor(up)
    x, y = np.abs(across - cell - 0.5), np.abs(up - storey - 0.52)
    ground = storey < 1
    share = p.numbers[2]
    # Ground floors have wide shop windows on some houses.
    shop = ground & (p.numbers[3] > 0.5)
    wide = np.where(shop, 0.43, 0.5 * share)
    tall = np.where(shop, 0.36, 0.5 * np.minimum(share + 0.12, 0.8))
    window = (x < wide) & (y < tall) & ~p.top
    frame = window & ((x > wide - 0.05) | (y > tall - 0.04) | (x < 0.02))
    lot = white[(storey * 7 + p.primitive * 13).astype(np.int32) & 255, (cell * 5 + 3).astype(np.int32) & 255]
    glass = 0.75 + 0.55 * lot
    gain = 1 + 0.09 * noise(clouds, p.u, p.v, 8.0) + 0.03 * noise(white, p.u, p.v, 12.0)
    gain = gain - 0.22 * (~window & (y > 0.46)) - 0.12 * (p.v < 0.5)
    share2 = window.astype(np.float32) * np.where(frame, 0.15, 1.0).astype(np.float32)
    return np.where(window & ~frame, glass, gain), share2


def _brick(p: Points):
    """Rows of stones; numbers: stone length, stone height, contrast of single stones."""
    white, clouds = tiles()
    row = np.floor(p.v / p.numbers[1])
    shifted = p.u / p.numbers[0] + 0.5 * (row % 2) + 100
    stone = np.floor(shifted)
    lot = white[(row * 3 + p.primitive).astype(np.int32) & 255, stone.astype(np.int32) & 255]
    x = np.abs(shifted - stone - 0.5) * p.numbers[0]
    y = np.abs(_phase(p.v, p.numbers[1]) - 0.5) * p.numbers[1]
    mortar = ((x > 0.5 * p.numbers[0] - 0.02) | (y > 0.5 * p.numbers[1] - 0.02)).astype(np.float32)
    # Far away the joints are finer than a pixel and melt into the stones.
    near = np.clip(12 / p.depth, 0, 1)
    gain = 1 + p.numbers[2] * lot * near + 0.1 * noise(clouds, p.u, p.v, 6.0)
    return gain, mortar * near + 0.15 * (1 - near)


def _leaves(p: Points):
    """Foliage; numbers: noise cells per metre, contrast."""
    white, clouds = tiles()
    turned = p.u + 0.37 * p.primitive
    rough = noise(clouds, turned, p.v, p.numbers[0])
    fine = noise(white, turned, p.v, 1.2 * p.numbers[0]) * np.clip(25 / p.depth, 0.25, 1)
    deep = 0.62 + 0.5 * np.clip(p.v / p.high, 0, 1)
    return deep * (1 + p.numbers[1] * (0.45 * rough + 0.55 * fine)), np.clip(0.5 * rough, 0, 1)


def _tiles(p: Points):
    """Roof tiles; numbers: pitch of the rows in metres."""
    rows = _phase(p.v, p.numbers[0])
    near = np.clip(20 / p.depth, 0, 1)
    return 1 + near * (0.25 * rows - 0.12) + 0.12 * noise(tiles()[0], p.u, p.v, 3.0), None


def _car_side(p: Points):
    """Lower body of a vehicle: seams, handle, dark sill; second colour: plastic."""
    seam = (np.abs(np.abs(p.u - 0.1) - 0.55) < 0.015 + 0.0005 * p.depth) & (p.v > 0.12)
    sill = (p.v < 0.13) & ~p.top
    crease = 0.12 * (np.abs(p.v - 0.72 * p.high) < 0.03)
    gain = np.where(p.top, 1.08, 0.84 + 0.3 * p.v / p.high) + crease - 0.35 * seam
    return gain, sill.astype(np.float32)


def _car_end(p: Points):
    """Front or rear of a car: lamps in the second colour, number plate, dark bumper; numbers: 1 at the rear."""
    across, up = np.abs(p.u) / p.half, p.v / p.high
    lamp = (across > 0.62) & (across < 0.96) & (up > 0.52) & (up < 0.86)
    plate = (across < 0.3) & (np.abs(up - np.where(p.numbers[0] > 0, 0.62, 0.3)) < 0.12)
    grill = (across < 0.55) & (np.abs(up - 0.62) < 0.14) & (p.numbers[0] < 1)
    gain = np.where(plate, 2.2, np.where(lamp, 1.25, 1.0))
    gain = np.where((up < 0.22) | grill, 0.3, gain)
    return gain, np.where(lamp, 1.0, np.where(plate, 0.75, 0.0)).astype(np.float32)


def _cabin(p: Points):
    """Glass between pillars in the second colour, the roof too."""
    across, up = np.abs(p.u) / p.half, p.v / p.high
    body = p.top | (across > 0.9) | (up > 0.88) | (up < 0.06) | ((across < 0.06) & (p.half > 0.95))
    shine = 0.75 + 0.5 * up + 0.35 * ((p.u * 0.8 + p.v) % 1.3 < 0.35)
    return np.where(body, np.where(p.top, 1.1, 0.95), shine), body.astype(np.float32)


def _coach_side(p: Points):
    """Side of a bus or train; numbers: window band low, high (shares of height), pillar distance, stripe 0..1."""
    up = p.v / p.high
    band = (up > p.numbers[0]) & (up < p.numbers[1]) & ~p.top & (np.abs(p.u) < p.half - 0.15)
    pillar = _phase(p.u, p.numbers[2]) < 0.1
    door = (_phase(p.u + 1.0, 4.5) < 0.24) & (up > 0.1) & (up < p.numbers[1]) & ~p.top
    stripe = (np.abs(up - 0.5 * p.numbers[0]) < 0.06 + 0.1 * p.numbers[3]) & ~p.top
    glass = (band | door) & ~pillar
    skirt = (up < 0.06) & ~p.top
    gain = np.where(glass, 0.16 + 0.1 * up, np.where(skirt, 0.3, 1.0)) + 0.03 * noise(tiles()[1], p.u, p.v, 5.0)
    return gain, (stripe & ~glass).astype(np.float32)


def _coach_end(p: Points):
    """Front or rear of a bus, train or truck cab: windscreen and lamps; numbers: screen low, high, 1 at the rear."""
    across, up = np.abs(p.u) / p.half, p.v / p.high
    glass = (up > p.numbers[0]) & (up < p.numbers[1]) & (across < 0.88) & ~p.top
    lamp = (up > 0.13) & (up < 0.2) & (across > 0.6) & (across < 0.9)
    sign = (up > p.numbers[1] + 0.03) & (up < 0.96) & (across < 0.55) & (p.numbers[3] > 0)
    gain = np.where(glass, 0.15 + 0.2 * up, np.where(lamp, 1.2, np.where(up < 0.08, 0.3, 1.0)))
    return np.where(sign, 0.1, gain), lamp.astype(np.float32)


def _cargo(p: Points):
    """Box of a truck: ribs, a band in the second colour; numbers: rib distance, band low, band high."""
    up = p.v / p.high
    rib = np.clip(20 / p.depth, 0, 1) * (_phase(p.u, p.numbers[0]) < 0.18)
    band = (up > p.numbers[1]) & (up < p.numbers[2]) & (np.abs(p.u) < 0.75 * p.half) & ~p.top
    edge = (np.abs(p.u) > p.half - 0.1) | (up < 0.06) | (up > 0.94)
    return 1 - 0.16 * rib - 0.3 * (edge & ~p.top), band.astype(np.float32)


def _sign(p: Points):
    """Face of a sign; numbers: style 0 ring, 1 arrow, 2 rim, 3 bar, 4 lines of text."""
    across, up = np.abs(p.u) / p.half, 2 * p.v / p.high - 1
    style = p.numbers[0]
    radius = np.sqrt(across * across + up * up)
    ring = (radius < 0.68) & ~((across < 0.12) & (np.abs(up) < 0.4))
    arrow = ((across < 0.13) & (up < 0.6) & (up > -0.7)) | ((across < 0.65 - up) & (up > 0.05) & (up < 0.6))
    rim = (across > 0.86) | (np.abs(up) > 0.86)
    bar = (np.abs(up) < 0.2) & (across < 0.75)
    text = (_phase(up + 1.0, 0.5) > 0.5) & (across < 0.8) & (noise(tiles()[0], p.u, up, 9.0) > -0.5)
    share = np.select([style < 1, style < 2, style < 3, style < 4], [ring, arrow, rim, bar], text)
    return np.ones_like(p.u), share.astype(np.float32)


def _lights(p: Points):
    """Lamps of a traffic light in a dark box; numbers: which is lit (0 red at the top, 1, 2), 1 for a yellow box."""
    slot = np.clip(np.floor(3 * p.v / p.high), 0, 2)
    y = (3 * p.v / p.high - slot - 0.5) * p.high / 3
    lamp = p.u * p.u + y * y < (0.42 * p.high / 3) ** 2
    lit = lamp & (slot == 2 - p.numbers[0])
    return np.where(lit, 1.0, np.where(lamp, 0.45, 1.0)), lit.astype(np.float32)


def _head(p: Points):
    """A head: face, and hair in the second colour above."""
    return np.ones_like(p.u), (p.v > 0.62 * p.high).astype(np.float32)


def _phase(value: np.ndarray, period) -> np.ndarray:
    """Return the fractional part of value / period."""
    turns = value / period
    return turns - np.floor(turns)


_TEXTURES = {
    PLAIN: _plain,
    FACADE: _facade,
    BRICK: _brick,
    LEAVES: _leaves,
    TILES: _tiles,
    CAR_SIDE: _car_side,
    CAR_END: _car_end,
    CABIN: _cabin,
    COACH_SIDE: _coach_side,
    COACH_END: _coach_end,
    CARGO: _cargo,
    SIGN: _sign,
    LIGHTS: _lights,
    HEAD: _head,
    CONCRETE: _concrete,
}
