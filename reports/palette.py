"""Colours that stay apart for colour-blind readers.

Source: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/ (black and grey left out).
"""

from collections.abc import Iterable, Mapping

import numpy as np

Colour = tuple[int, int, int]

ORANGE: Colour = (230, 159, 0)
SKY_BLUE: Colour = (86, 180, 233)
GREEN: Colour = (0, 158, 115)
YELLOW: Colour = (240, 228, 66)
BLUE: Colour = (0, 114, 178)
VERMILION: Colour = (213, 94, 0)
PURPLE: Colour = (204, 121, 167)
GREY: Colour = (200, 200, 200)

LABEL_COLOURS: tuple[Colour, ...] = (ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILION, PURPLE)

ERROR_COLOURS: Mapping[str, Colour] = {"right": GREY, "missed": BLUE, "too much": VERMILION, "wrong class": PURPLE}
"""What an error map shows, in the order of its codes 1 to 4."""


def label_colour(value: int) -> Colour:
    """The colour of a label value from 1 on; beyond seven labels the colours repeat, darker."""
    rounds, index = divmod(value - 1, len(LABEL_COLOURS))
    red, green, blue = LABEL_COLOURS[index]
    shade = 0.65**rounds
    return round(red * shade), round(green * shade), round(blue * shade)


def unit_colour(colour: Colour) -> tuple[float, float, float]:
    """A colour as matplotlib takes it: parts in [0, 1]."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def colour_table(values: Iterable[int]) -> np.ndarray:
    """A lookup table, uint8 `(256, 3)`: `table[label]` colours a label map; values not asked for are black."""
    table = np.zeros((256, 3), np.uint8)
    for value in values:
        if value > 0:
            table[value] = label_colour(value)
    return table
