"""Labels beside points that neither overlap nor leave the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from recbole_ssr.report.comparison.styles import FAINT

_ANGLES = tuple(math.radians(a) for a in (0, 180, 45, 135, 315, 225, 90, 270, 22, 158, 338, 202))
_DISTANCES = (7, 14, 22, 32, 44, 58, 74, 92)  # points
_LEADER_FROM = 12  # points; a nearer label needs no line to its point
_POINT = 5  # points around a marker that stay free

Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def place_labels(axis: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str],
                 reaches: Sequence[float], size: float = 9) -> list:
    """Write a text beside every point, each in the nearest free place; return the annotations.

    `reaches` are the halves of the points' vertical error bars, which no text may cover.

    Places are tried in a fixed order, so that the same points give the same picture. The layout of
    the figure is fixed from here on.
    """
    figure = axis.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    scale = figure.dpi / 72
    inside = axis.get_window_extent().extents
    centres = [tuple(axis.transData.transform(point)) for point in points]
    taken: list[Box] = [_around(x, y, _POINT * scale) for x, y in centres]
    for (x, y), reach in zip(points, reaches):
        low, high = axis.transData.transform([(x, y - reach), (x, y + reach)])
        taken.append((low[0] - scale, low[1], high[0] + scale, high[1]))
    notes = []
    for (x, y), point, text in sorted(zip(centres, points, texts)):
        note = axis.annotate(text, point, (0, 0), textcoords="offset points", fontsize=size)
        extent = note.get_window_extent()
        at, box, leader = _best(x, y, extent.width, extent.height, scale, taken, inside)
        taken += [box, *leader]
        note.set_position(((box[0] - x) / scale, (box[1] - y) / scale))
        note.set_verticalalignment("bottom")
        if math.dist((0, 0), at) > _LEADER_FROM * scale:
            end = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
            axis.annotate("", point, ((end[0] - x) / scale, (end[1] - y) / scale),
                          textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7,
                                      "shrinkA": 0, "shrinkB": 4})
        notes.append(note)
    return notes


def _best(x, y, width, height, scale, taken, inside):
    """Return offset, box and leader of the first free place, else of the least covered one."""
    least, taken = None, np.array(taken)
    for distance in _DISTANCES:
        for angle in _ANGLES:
            dx, dy = distance * scale * math.cos(angle), distance * scale * math.sin(angle)
            left = x + dx - width * (1 - math.cos(angle)) / 2
            bottom = y + dy - height * (1 - math.sin(angle)) / 2
            box = (left, bottom, left + width, bottom + height)
            leader = _leader(x, y, dx, dy, scale)
            covered = _shared(np.array([box, *leader]), taken)
            covered += width * height - _shared(np.array([box]), np.array([inside]))
            if least is None or covered < least[0]:
                least = covered, (dx, dy), box, leader
            if covered <= 1e-6:
                return least[1:]
    return least[1:]


def _leader(x: float, y: float, dx: float, dy: float, scale: float) -> list[Box]:
    """Return small boxes along the line from a point to its label, none near the point."""
    length = math.hypot(dx, dy)
    if length <= _LEADER_FROM * scale:
        return []
    first = 2 * _POINT * scale
    steps = int((length - first) // (3 * scale))
    return [_around(x + dx * (first + 3 * scale * k) / length,
                    y + dy * (first + 3 * scale * k) / length, scale) for k in range(steps)]


def _around(x: float, y: float, reach: float) -> Box:
    return x - reach, y - reach, x + reach, y + reach


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Return the area that boxes (n, 4) share with boxes (m, 4), summed over all pairs."""
    sides = (np.minimum(a[:, None, 2:], b[None, :, 2:])
             - np.maximum(a[:, None, :2], b[None, :, :2]))
    return float(np.maximum(sides, 0).prod(2).sum())
