"""Does a picture look like one that the tabletop world drew?

A model that was trained on drawn scenes alone answers about a photograph as fluently as about a scene, and wrongly.
So whoever asks such a model is told when the picture is of another kind.
"""

from __future__ import annotations

from statistics import median

from PIL import Image

from stepsight.world.drawing import MARK

SIDE = 64
"""The picture is looked at in this size; grain and JPEG noise average out."""
FRAME = 3
"""How many pixels of the border, at that size, are looked at."""
TINGE = 14
"""The table is grey: at most so much between the largest and the smallest channel."""
SHADES = (95, 225)
"""Medium grey: the table's darkest and lightest median under any lamp of the world."""
SPREAD = 32
"""The table's shading from corner to corner stays within this distance of its median."""
SHARE = 0.7
"""So much of the border must be table; a thing near the edge or a shadow may cover the rest."""


def looks_drawn(picture: Image.Image) -> bool:
    """Say whether the tabletop world drew the picture: by its PNG mark, else by the grey table along its border.

    A cheap look, made to catch photographs, charts and scenes of other worlds, which are not square. A square
    photograph taken on a plain grey ground passes it.
    """
    key, value = MARK
    if picture.info.get(key) == value:
        return True
    if abs(picture.width - picture.height) > 0.02 * picture.width:
        return False
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    border = [
        colour
        for y in range(SIDE)
        for x in range(SIDE)
        if min(x, y, SIDE - 1 - x, SIDE - 1 - y) < FRAME and isinstance(colour := small.getpixel((x, y)), tuple)
    ]
    greys = [sum(colour) / 3 for colour in border if max(colour) - min(colour) <= TINGE]
    if len(greys) < SHARE * len(border):
        return False
    middle = median(greys)
    table = [grey for grey in greys if abs(grey - middle) <= SPREAD]
    return SHADES[0] <= middle <= SHADES[1] and len(table) >= SHARE * len(border)
