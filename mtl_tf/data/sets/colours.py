"""Colours of classes that have none of their own: those of PASCAL VOC."""


def voc_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """The colours of the first classes: the bits of their number, from the lowest, dealt out to red, green and blue.

    Bits 0, 3, 6 are the upper three of red, bits 1, 4, 7 of green, and 2, 5 of blue, as the VOC devkit has it.
    """

    def part(number, channel):
        return sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))

    return tuple(tuple(part(number, channel) for channel in range(3)) for number in range(count))
