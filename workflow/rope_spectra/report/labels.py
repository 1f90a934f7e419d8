"""Names of points in a scatter plot, next to their points and clear of each other."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from numpy.typing import NDArray

from rope_spectra.report import style

# Boxes are [..., 4] in pixels: left, bottom, right, top.
Boxes = NDArray[np.float64]

_DISTANCES = (6, 12, 20, 30, 42, 56, 72)  # from a point to its name, in points
_FAR = 12  # from this distance on, a line leads from the name to its point
# To the right and left first: names are wide and low.
_ANGLES = np.radians([0, 180, 45, 135, 315, 225, 90, 270, 20, 160, 340, 200])


def place(axes: Axes, points: Mapping[str, tuple[float, float]], bold: Sequence[str] = ()) -> None:
    """Write each name where it covers nothing, as near to its point (x, y) as that allows.

    All marks of the axes, its limits and scales have to be there already. Where there is no free
    place, a name takes the one where it covers least.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    frame = np.array(axes.get_window_extent(renderer).extents)
    taken = _obstacles(axes, points)
    for name, point in points.items():
        weight = "bold" if name in bold else "normal"
        text = axes.annotate(
            name,
            point,
            (0, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            fontweight=weight,
            annotation_clip=False,
            zorder=5,
        )
        size = text.get_window_extent(renderer)
        spots = _spots(axes.transData.transform(point), size.width, size.height, figure.dpi)
        cost = [_covered(spot, taken) + 10 * _outside(spot, frame) for spot in spots]
        best = int(np.argmin(cost))
        _move(text, spots[best], axes, point, figure.dpi)
        taken = np.concatenate([taken, spots[best][None] + [-1, -1, 1, 1]])


def _obstacles(axes: Axes, points: Mapping[str, tuple[float, float]]) -> Boxes:
    """The boxes of all marks and bars: a line is cut into pieces that are small boxes."""
    boxes = []
    for line in axes.lines:
        pixels = line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
        for start, end in pairwise(pixels):
            pieces = max(2, int(np.hypot(*(end - start)) / 4))
            boxes.append(np.linspace(start, end, pieces))
    marks = axes.transData.transform(list(points.values()))
    thin = np.concatenate(boxes) if boxes else np.empty((0, 2))
    return np.concatenate([np.hstack([marks - 5, marks + 5]), np.hstack([thin - 1.5, thin + 1.5])])


def _spots(point: NDArray[np.float64], width: float, height: float, dpi: float) -> Boxes:
    """The boxes where a name may go, the nearest first."""
    spots = []
    for distance in _DISTANCES:
        reach = distance * dpi / 72
        for angle in _ANGLES:
            across, up = np.cos(angle), np.sin(angle)
            # The box begins at the point's side: its near edge is `reach` away, not its middle.
            x = point[0] + reach * across + width / 2 * np.clip(2 * across, -1, 1)
            y = point[1] + reach * up + height / 2 * np.clip(2 * up, -1, 1)
            spots.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return np.array(spots)


def _covered(box: Boxes, taken: Boxes) -> float:
    """The area of the boxes that one box covers, in square pixels."""
    wide = np.minimum(box[2], taken[:, 2]) - np.maximum(box[0], taken[:, 0])
    high = np.minimum(box[3], taken[:, 3]) - np.maximum(box[1], taken[:, 1])
    return float((np.maximum(wide, 0) * np.maximum(high, 0)).sum())


def _outside(box: Boxes, frame: Boxes) -> float:
    """The area of a box that lies outside the frame, in square pixels."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return float(area - _covered(box, frame[None]))


def _move(text: Annotation, box: Boxes, axes: Axes, point: tuple[float, float], dpi: float) -> None:
    """Put a text into its box; from afar with a line to its point."""
    start = axes.transData.transform(point)
    x, y = (box[0] - start[0]) * 72 / dpi, ((box[1] + box[3]) / 2 - start[1]) * 72 / dpi
    text.set_position((x, y))
    nearest = np.clip(start, box[:2], box[2:])
    if np.hypot(*(nearest - start)) * 72 / dpi > _FAR:
        end = axes.transData.inverted().transform(nearest)
        axes.plot(*zip(end, point, strict=True), color=style.GREY, linewidth=0.5, zorder=1.5)
