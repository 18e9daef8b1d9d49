"""From a model bundle and a scan to a label map on the scan's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .components import whole_classes, without_small_pieces
from .device import autocast, memory_format
from .model import ModelBundle
from .region_edge import classes_at_edge
from .restoration import Restoration
from .slice_borders import SliceBorder, along_slices, slice_borders
from .splines import resized
from .windows import slabs

LEAST_WINDOW = 16  # voxels of an edge


@dataclass(frozen=True)
class Windows:
    """How a scan is seen; fewer and smaller windows need less memory.

    Attributes:
        at_once: windows in one pass of the network.
        divisor: windows have the working grid's edges divided by this; the network then sees less around each voxel
            than it was trained with.
        sizes: in which the window is seen that shows what the atlases show, if it is as large as the working grid; the
            mean of what networks say of them is nearer to the truth.
    """

    at_once: int = 2
    divisor: int = 1
    sizes: tuple[float, ...] = (0.9, 1.0, 1.1)

    def shape(self, grid: tuple[int, int, int]) -> tuple[int, ...]:
        """Edges (d, h, w) of a window, for a working grid (D, H, W)."""
        return tuple(min(size, max(LEAST_WINDOW, -(-size // self.divisor))) for size in grid)


@dataclass
class Segmentation:
    """What the predictor finds in one scan.

    Attributes:
        labels: label values on the scan's own grid; borders that follow slices in the atlases (see
            :mod:`brbs.slice_borders`) do so here, not in the probabilities.
        placement: of the scan on the working grid.
        volume: the scan on the working grid, float32 (D, H, W) in [0, 1].
        found: class probabilities there, float32 (K, D, H, W), background first.
        probabilities: the same per class as a float32 image on the scan's own grid; None unless asked for.
        pieces_left_out: connected pieces that were set to background.
        cut_off: names of structures that may go on beyond the region around the atlases' labels, see
            :mod:`brbs.region_edge`.
    """

    labels: sitk.Image
    placement: sitk.Transform
    volume: np.ndarray
    found: np.ndarray
    probabilities: list[sitk.Image] | None = None
    pieces_left_out: int = 0
    cut_off: tuple[str, ...] = ()


class Predictor:
    """A model loaded once, ready for any number of scans.

    Args:
        bundle: the model.
        device: where to compute.

    Attributes:
        windows: through which scans are seen.

    Raises:
        InputError: the model's weights do not fit its description.
    """

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        self.schema, self.grid, self.device = bundle.schema, bundle.grid, device
        self.network = bundle.segmentation_net().to(device, memory_format=memory_format(device))
        self.reference = bundle.reference
        self._atlas_labels = bundle.atlas_labels
        self.windows = Windows()

    def segment(
        self,
        image: sitk.Image,
        probabilities: bool = False,
        components: str = "atlases",
        check: Callable[[], None] = lambda: None,
    ) -> Segmentation:
        """Segments a scan of any size, spacing and orientation.

        Args:
            image: 3-D scalar scan.
            probabilities: also give the class probabilities.
            components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.
            check: called before each pass of the network; what it raises ends the segmentation.
        """
        placement = self.grid.place(image, self.reference)
        lattice = self.grid.lattice(image, placement)
        restoration = Restoration(lattice, image, placement, probabilities)
        found = np.empty((self.schema.class_count, *self.grid.shape), np.float32)
        z, y, x = lattice.position(self.grid)
        whole = lattice.sample_image(image, placement)
        volume = np.empty((1, *self.grid.shape), np.float32)
        _take_part(whole[None], volume, -z, y, x)
        for first, planes in self.slabs(whole, check, (z, y, x)):
            restoration.add(first, planes)
            _take_part(planes, found, first - z, y, x)
        classes = along_slices(restoration.classes, self._slice_borders, found, self.grid, placement)
        classes, left_out = self._without_small_pieces(classes, placement, components)
        maps = restoration.probabilities if probabilities else None
        cut_off = self._names(classes_at_edge(found, self.grid, image, placement))
        return Segmentation(self.label_values(classes), placement, volume[0], found, maps, left_out, cut_off)

    def _names(self, classes: set[int]) -> tuple[str, ...]:
        return tuple(self.schema.labels[index - 1].name for index in sorted(classes))

    def _without_small_pieces(
        self, classes: sitk.Image, placement: sitk.Transform, components: str
    ) -> tuple[sitk.Image, int]:
        if components == "all":
            return classes, 0
        if components == "largest":
            return without_small_pieces(classes, range(1, self.schema.class_count), kept=math.inf)
        gap = [int(step) if step >= 2 else 0 for step in self.grid.steps(classes, placement)]
        return without_small_pieces(classes, self._whole_classes, gap=gap)

    @cached_property
    def _whole_classes(self) -> set[int]:
        return whole_classes(self._atlas_labels)

    @cached_property
    def _slice_borders(self) -> list[SliceBorder]:
        return slice_borders(self._atlas_labels)

    @torch.no_grad()
    def slabs(
        self, volume: np.ndarray, check: Callable[[], None] = lambda: None, home: tuple[int, ...] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Class probabilities of a normalised volume (D, H, W) in the working grid's spacing, some planes at a time.

        Volumes larger than a window, which is as large as the working grid unless :attr:`windows` says else, are seen
        through overlapping ones; ``check`` is called before each pass of the network. Where the working grid begins at
        ``home`` (z, y, x) in the volume, the window there decides, and is seen in several sizes.

        Yields:
            Index of the first plane, and float32 (K, planes, H, W).
        """

        def classify(seen: Tensor, at_home: bool) -> Tensor:
            return self._classify(seen, self.windows.sizes if at_home else (1.0,), check)

        window = self.windows.shape(self.grid.shape)
        whole = home if window == self.grid.shape else None  # smaller windows show nothing as training did
        yield from slabs(volume, window, classify, self.device, self.windows.at_once, whole)

    def _classify(self, windows: Tensor, sizes: Sequence[float], check: Callable[[], None]) -> Tensor:
        """Class probabilities (N, K, d, h, w) of windows (N, 1, d, h, w): of their mean logits in some sizes."""
        total = torch.zeros((), device=self.device)
        for size in sizes:
            check()
            total = total + self._logits(windows, size)
        return (total / len(sizes)).softmax(1)

    def _logits(self, windows: Tensor, size: float) -> Tensor:
        """Logits of windows that the network sees in so many times their size, in their own voxels."""
        shape = windows.shape[2:]
        seen = resized(windows, [max(1, round(edge * size)) for edge in shape]).clamp(0, 1)
        with autocast(self.device):
            logits = self.network(seen.contiguous(memory_format=memory_format(self.device)))
        return resized(logits.float(), shape)

    def label_values(self, classes: sitk.Image) -> sitk.Image:
        """Class indices as the label values of the atlases, on the same grid."""
        labels = sitk.GetImageFromArray(self.schema.decode(sitk.GetArrayViewFromImage(classes)))
        labels.CopyInformation(classes)
        return labels


def _take_part(planes: np.ndarray, part: np.ndarray, plane: int, y: int, x: int) -> None:
    """Copies what planes (K, d, H, W) hold of a part (K, D, h, w) of their volume.

    Args:
        plane: of the part, that the first of the planes is; may be negative.
        y, x: where the part begins in each plane.
    """
    low, high = max(plane, 0), min(plane + planes.shape[1], part.shape[1])
    if low < high:
        part[:, low:high] = planes[:, low - plane : high - plane, y : y + part.shape[2], x : x + part.shape[3]]
