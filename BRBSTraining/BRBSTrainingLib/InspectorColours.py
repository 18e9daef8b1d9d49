"""Colours of the inspector's volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brbs.label_schema import LabelSchema

Colour = tuple[float, float, float]
LEVELS = 256
SHRUNK, KEPT, GROWN = (0.13, 0.35, 0.80), (1.0, 1.0, 1.0), (0.80, 0.15, 0.15)  # blue, white, red
FOLDED = (1.0, 0.9, 0.0)  # yellow, for the lowest level: a determinant of 0 or less
HEAT = ((0.0, 0.0, 0.0), (0.45, 0.10, 0.45), (0.95, 0.45, 0.15), (1.0, 1.0, 0.75))


def styleJacobianColours(node) -> None:
    """Fills a colour table for determinants shown from 0 to 2: blue shrinks, red grows, yellow is folded."""
    _fill(node, [FOLDED, *_ramp((SHRUNK, KEPT, GROWN))[1:]])


def styleMagnitudeColours(node) -> None:
    """Fills a colour table for lengths, from dark to bright."""
    _fill(node, _ramp(HEAT))


def styleStructureColours(node, schema: LabelSchema) -> None:
    """Fills a colour table for classes: the background is transparent, class i + 1 is ``schema.labels[i]``."""
    _fill(node, [(0.0, 0.0, 0.0), *(label.colour for label in schema.labels)])
    for index, name in enumerate(["background", *(label.name for label in schema.labels)]):
        node.SetColorName(index, name)
    node.SetOpacity(0, 0.0)


def _ramp(stops: Sequence[Colour]) -> list[Colour]:
    places, levels = np.linspace(0, 1, len(stops)), np.linspace(0, 1, LEVELS)
    channels = [np.interp(levels, places, channel) for channel in zip(*stops, strict=True)]
    return [tuple(map(float, colour)) for colour in zip(*channels, strict=True)]


def _fill(node, colours: Sequence[Colour]) -> None:
    node.SetTypeToUser()
    node.SetNumberOfColors(len(colours))
    node.GetLookupTable().SetRange(0, len(colours) - 1)
    for index, colour in enumerate(colours):
        node.SetColor(index, f"{index}", *colour, 1.0)
