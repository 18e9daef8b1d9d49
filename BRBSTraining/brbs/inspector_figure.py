"""Pictures of generated samples: one from atlas to target in three planes, and many in one plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .inspector_sample import Draw, Sample, centre
from .label_schema import LabelSchema

PLANES = (("axial", 0), ("coronal", 1), ("sagittal", 2))  # name, axis of a (D, H, W) array that the plane is normal to
FOLDED_COLOUR = "#ff00ff"
LEGEND_ENTRIES = 12
TILE_INCHES = 1.7  # width of a sample on the sheet
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
    where = centre(sample.generated_labels)
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


def sample_sheet(draws: Sequence[Draw], schema: LabelSchema, spacing: Sequence[float]) -> Figure:
    """Draws one plane of each of several samples side by side, with the shares of space and style under it.

    Args:
        draws: what to draw, at least one.
        schema: names and colours of the structures.
        spacing: mm, (x, y, z).
    """
    rows, columns = _rows_and_columns(len(draws))
    extent = np.array(draws[0].image.shape) * (spacing[1], spacing[0])  # of a tile, mm: height, width
    extent = extent / extent[1] * TILE_INCHES
    height, width = extent + (0.35, 0.07)  # room for the words under it
    size = (max(columns * width, 4.0), rows * height + 0.4)
    figure = Figure(figsize=size)
    ax = figure.add_axes((0, 0.4 / size[1], columns * width / size[0], 1 - 0.4 / size[1]))  # one is quicker than many
    for index, draw in enumerate(draws):
        top, left = index // columns * height, index % columns * width
        y, x = (
            start + (np.arange(count) + 0.5) / count * length
            for start, count, length in zip((top, left), draw.image.shape, extent, strict=True)
        )
        box = (left, left + extent[1], top + extent[0], top)
        ax.imshow(draw.image, extent=box, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        _outlines(ax, draw.labels, schema, x, y)
        words = f"$\\alpha$ {draw.alpha:.2f}   $\\beta$ {draw.beta:.2f}"
        ax.text(left + extent[1] / 2, top + extent[0] + 0.08, words, fontsize=9, ha="center", va="top")
    ax.set(xlim=(0, columns * width), ylim=(rows * height, 0))
    ax.set_axis_off()
    _legend(figure, schema, folded=False)
    return figure


def _rows_and_columns(count: int) -> tuple[int, int]:
    """About three columns for two rows; of like shapes that which leaves the fewest places empty."""
    wide = math.ceil(math.sqrt(1.5 * count))
    columns = min((wide, wide + 1, max(1, wide - 1)), key=lambda columns: -count % columns)
    return math.ceil(count / columns), columns


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
        """Draws the plane of a volume (D, H, W), with ``imshow``'s options."""
        ax.imshow(self.of(volume), origin=self.origin, aspect=self.aspect, interpolation="nearest", **options)


def _grey(
    ax: Axes, cut: Slice, image: np.ndarray, labels: np.ndarray | None = None, schema: LabelSchema | None = None
) -> None:
    cut.show(ax, image, cmap="gray", vmin=0, vmax=1)
    if labels is None or schema is None:
        return
    plane = cut.of(labels)
    _outlines(ax, plane, schema, np.arange(plane.shape[1]), np.arange(plane.shape[0]))


def _outlines(ax: Axes, plane: np.ndarray, schema: LabelSchema, x: np.ndarray, y: np.ndarray) -> None:
    """Borders of the structures of a plane of class indices whose columns lie at ``x`` and rows at ``y``."""
    for index, label in enumerate(schema.labels, start=1):
        mask = plane == index
        if mask.any() and not mask.all():
            ax.contour(x, y, mask.astype(float), levels=[0.5], colors=[label.colour], linewidths=1.3)


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


def _legend(figure: Figure, schema: LabelSchema, folded: bool = True) -> None:
    shown, more = schema.labels[:LEGEND_ENTRIES], len(schema.labels) - LEGEND_ENTRIES
    handles: list[Line2D | Patch] = [Line2D([], [], color=label.colour, label=label.name) for label in shown]
    if more > 0:
        handles.append(Line2D([], [], linestyle="", label=f"and {more} more"))
    if folded:
        handles.append(Patch(color=FOLDED_COLOUR, label="folded (determinant below 0)"))
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 7), frameon=False, fontsize=9)


def _caption(sample: Sample) -> str:
    figures = sample.figures
    names = [f"atlas {figures['atlas']}"] if "atlas" in figures else []
    before, after = figures["lncc"]["before"], figures["lncc"]["after"]
    folded = figures["folded_fraction"]["whole"]["all"]
    parts = [*names, f"LNCC with the space scan {before:.3f} before, {after:.3f} after", f"folded voxels {folded:.2%}"]
    return "   ·   ".join(parts)
