"""The contact sheet of a generated sample: three planes through the structures, from atlas to target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .study import LabelSchema

if TYPE_CHECKING:
    from .inspector_sample import Sample

PLANES = (("axial", 0), ("coronal", 1), ("sagittal", 2))  # name, axis of a (D, H, W) array that the plane is normal to
FOLDED_COLOUR = "#ff00ff"
LEGEND_ENTRIES = 12
GRID_LINES = 16  # along the longest side of the volume


def contact_sheet(sample: Sample, schema: LabelSchema, spacing: Sequence[float]) -> Figure:
    """Draws atlas, style scan, space scan, generated sample, deformation and volume change, in three planes.

    Axial and coronal planes are seen as radiologists do: the patient's left is on the right.

    Args:
        sample: what to draw.
        schema: names and colours of the structures.
        spacing: mm, (x, y, z).
    """
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=max(2.0, float(np.percentile(sample.jacobian, 99.5))))
    colours = colormaps["RdBu_r"].with_extremes(under=FOLDED_COLOUR)
    alpha, beta = sample.figures["alpha"], sample.figures["beta"]
    columns: list[tuple[str, Callable[[Axes, Slice], None]]] = [
        ("atlas", lambda ax, cut: _grey(ax, cut, sample.atlas_image, sample.atlas_labels, schema)),
        ("style scan", lambda ax, cut: _grey(ax, cut, sample.style_image)),
        ("space scan", lambda ax, cut: _grey(ax, cut, sample.space_image)),
        (
            f"generated\nspace $\\alpha$ = {alpha:.2g}, style $\\beta$ = {beta:.2g}",
            lambda ax, cut: _grey(ax, cut, sample.generated_image, sample.generated_labels, schema),
        ),
        ("deformation, $\\alpha$ = 1\natlas's grid on the space scan", lambda ax, cut: _draw_grid(ax, cut, sample)),
        (
            "volume change, $\\alpha$ = 1\nJacobian determinant",
            lambda ax, cut: cut.show(ax, sample.jacobian, cmap=colours, norm=norm),
        ),
    ]
    figure, panels, colour_panel = _layout(sample.jacobian.shape, spacing, len(columns))
    where = _centre(sample.generated_labels)
    for row, (plane, axis) in zip(panels, PLANES, strict=True):
        cut = Slice(axis, where[axis], spacing)
        for ax, (title, draw) in zip(row, columns, strict=True):
            draw(ax, cut)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if axis == 0:
                ax.set_title(title, fontsize=10)
        row[0].set_ylabel(plane, fontsize=10)
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=colour_panel, extend="min")
    bar.set_ticks([0, 0.5, 1, *np.linspace(1, norm.vmax, 3)[1:]], labels=None)
    bar.ax.yaxis.set_major_formatter("{x:.2g}")
    _legend(figure, schema)
    figure.suptitle(_caption(sample), fontsize=11, y=1 - 0.12 / figure.get_figheight(), va="top")
    return figure


class Slice:
    """One plane through volumes (D, H, W) of a spacing (x, y, z), and how it is shown."""

    def __init__(self, axis: int, index: int, spacing: Sequence[float]) -> None:
        self.axis, self.index = axis, index
        self.rows, self.columns = (other for other in range(3) if other != axis)
        self.aspect = spacing[::-1][self.rows] / spacing[::-1][self.columns]
        self.origin = "upper" if axis == 0 else "lower"  # y runs to the back, z to the head

    def of(self, volume: np.ndarray) -> np.ndarray:
        """The plane as (rows, columns)."""
        return np.take(volume, self.index, axis=self.axis)

    def show(self, ax: Axes, volume: np.ndarray, **options) -> None:
        ax.imshow(self.of(volume), origin=self.origin, aspect=self.aspect, interpolation="nearest", **options)


def _centre(labels: np.ndarray) -> tuple[int, ...]:
    """Along each axis the plane that cuts most of the structures; the middle where there are none."""
    if not labels.any():
        return tuple(size // 2 for size in labels.shape)
    inside = labels != 0
    return tuple(int(inside.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3))


def _grey(
    ax: Axes, cut: Slice, image: np.ndarray, labels: np.ndarray | None = None, schema: LabelSchema | None = None
) -> None:
    cut.show(ax, image, cmap="gray", vmin=0, vmax=1)
    if labels is None or schema is None:
        return
    plane = cut.of(labels)
    for index, label in enumerate(schema.labels, start=1):
        mask = plane == index
        if mask.any() and not mask.all():
            ax.contour(mask.astype(float), levels=[0.5], colors=[label.colour], linewidths=1.3)


def _draw_grid(ax: Axes, cut: Slice, sample: Sample) -> None:
    """Where the lines of a regular grid drawn on the atlas come to lie: contours of each voxel's atlas coordinates."""
    cut.show(ax, sample.space_image, cmap="gray", vmin=0, vmax=1.6)
    shape = sample.jacobian.shape
    positions = np.indices(shape, dtype=np.float32) + sample.flow
    step = max(2, round(max(shape) / GRID_LINES))
    for axis in (cut.rows, cut.columns):
        plane = cut.of(positions[axis])
        levels = [level for level in range(0, shape[axis], step) if plane.min() < level < plane.max()]
        if levels:
            ax.contour(plane, levels=levels, colors="#ffd23f", linewidths=0.7)


def _layout(shape: tuple[int, ...], spacing: Sequence[float], count: int) -> tuple[Figure, list[list[Axes]], Axes]:
    """A figure with 3 rows of ``count`` panels, as high as their planes are, and a narrow panel for a colour bar."""
    extent = np.array(shape) * spacing[::-1]
    heights = [extent[1], extent[0], extent[0]]
    width = max(extent[2], extent[1])
    inches = 2.2 / width
    size = (0.9 + count * 2.3, 1.35 + inches * sum(heights) + 0.1 * len(heights))
    figure = Figure(figsize=size)
    grid = figure.add_gridspec(
        3,
        count + 1,
        width_ratios=[*[1] * count, 0.06],
        height_ratios=heights,
        left=0.35 / size[0],
        right=1 - 0.5 / size[0],
        bottom=0.45 / size[1],
        top=1 - 0.85 / size[1],
        wspace=0.04,
        hspace=0.06,
    )
    panels = [[figure.add_subplot(grid[row, column]) for column in range(count)] for row in range(3)]
    return figure, panels, figure.add_subplot(grid[:, count])


def _legend(figure: Figure, schema: LabelSchema) -> None:
    shown, more = schema.labels[:LEGEND_ENTRIES], len(schema.labels) - LEGEND_ENTRIES
    handles: list[Line2D | Patch] = [Line2D([], [], color=label.colour, label=label.name) for label in shown]
    if more > 0:
        handles.append(Line2D([], [], linestyle="", label=f"and {more} more"))
    handles.append(Patch(color=FOLDED_COLOUR, label="folded (determinant below 0)"))
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 7), frameon=False, fontsize=9)


def _caption(sample: Sample) -> str:
    figures = sample.figures
    names = [f"atlas {figures['atlas']}"] if "atlas" in figures else []
    before, after = figures["lncc"]["before"], figures["lncc"]["after"]
    folded = figures["folded_fraction"]["whole"]["all"]
    parts = [*names, f"LNCC with the space scan {before:.3f} before, {after:.3f} after", f"folded voxels {folded:.2%}"]
    return "   ·   ".join(parts)
