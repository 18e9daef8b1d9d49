"""The prepared study as tensors: drawing atlases and scans, rotated, scaled and bent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import affine_grid, random_affine, random_bending, random_strength, slab_turns
from .warp import onehot_at, sample_at

FEW_CLASSES = 6  # up to which interpolating one-hot label maps along with the image is the quickest way


@dataclass(frozen=True)
class Source:
    """A scan with its label map as they are kept, before rotation and scale.

    Attributes:
        image: (1, 1, D, H, W) in [0, 1].
        labels: class indices (1, D, H, W) uint8.
        class_count: K, background included.
    """

    image: Tensor
    labels: Tensor
    class_count: int

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Image (1, 1, *shape) and label map (1, K, *shape) at positions (1, 3, *shape) in ``grid_sample`` coordinates.

        The label map is interpolated as if one-hot.
        """
        if self.class_count > FEW_CLASSES:
            return sample_at(self.image, positions), self.labels_at(positions)
        onehot = F.one_hot(self.labels.long(), self.class_count).movedim(-1, 1).float()
        drawn = sample_at(torch.cat([self.image, onehot], dim=1), positions)
        return drawn[:, :1], drawn[:, 1:]

    def labels_at(self, positions: Tensor) -> Tensor:
        """The label map alone."""
        return onehot_at(self.labels, positions, self.class_count)


@dataclass
class Triple:
    """One draw for a BRBS step: an atlas and two unlabeled scans under the same rotation and scale.

    Images are (1, 1, D, H, W) in [0, 1]; label maps (1, K, D, H, W), one-hot before interpolation, those of the scans
    made when they are first asked for.

    Attributes:
        atlas_source, scan_1_source, scan_2_source: what is seen.
        positions: where in the sources the drawn voxels lie, (1, 3, D, H, W) in ``grid_sample`` coordinates.
        spacing: mm of the voxels, (D, H, W) order.
    """

    atlas_source: Source
    scan_1_source: Source
    scan_2_source: Source
    positions: Tensor
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        self.atlas_image, self.atlas_onehot = self.atlas_source.at(self.positions)
        scans = torch.cat([self.scan_1_source.image, self.scan_2_source.image], dim=1)
        self.scan_1, self.scan_2 = sample_at(scans, self.positions).split(1, dim=1)

    @cached_property
    def scan_1_labels(self) -> Tensor:
        """Its pseudo label map at the positions."""
        return self.scan_1_source.labels_at(self.positions)

    @cached_property
    def scan_2_labels(self) -> Tensor:
        """Its pseudo label map at the positions."""
        return self.scan_2_source.labels_at(self.positions)


class TrainingData:
    """Scans and label maps on the working grid, kept in memory, and random draws from them.

    Args:
        atlas_images: (A, D, H, W) float in [0, 1].
        atlas_labels: (A, D, H, W) uint8 class indices.
        unlabeled_images: (U, D, H, W) float in [0, 1].
        class_count: K, background included.
        spacing: voxel edges in mm, (D, H, W) order.
        device: where drawn volumes are computed.
    """

    def __init__(self, atlas_images, atlas_labels, unlabeled_images, class_count, spacing, device) -> None:
        self.atlas_images = torch.as_tensor(atlas_images, dtype=torch.float32, device=device).unsqueeze(1)
        self.atlas_labels = torch.as_tensor(atlas_labels, dtype=torch.uint8, device=device)
        self.scans = torch.as_tensor(unlabeled_images, dtype=torch.float32, device=device).unsqueeze(1)
        self.scan_labels = torch.zeros_like(self.scans[:, 0], dtype=torch.uint8)
        self.class_count = class_count
        self.spacing = tuple(spacing)
        self.device = device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the working grid (D, H, W)."""
        return tuple(self.atlas_images.shape[2:])

    def draw_index(self, generator: torch.Generator) -> int:
        """Index of one atlas."""
        return self._index(len(self.atlas_images), generator)

    def draw_atlas(
        self, generator: torch.Generator, augmentation: str, atlas: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """An atlas (None: any), rotated, scaled and bent as the setting ``augmentation`` says.

        Returns:
            Image (1, 1, D, H, W) and label map (1, K, D, H, W).
        """
        index = self.draw_index(generator) if atlas is None else atlas
        return self._atlas(index).at(_positions(self._grid(generator, augmentation)))

    def draw_scans(self, generator: torch.Generator) -> tuple[int, int]:
        """Indices of two different unlabeled scans (of one scan twice where there is only one)."""
        first = self._index(len(self.scans), generator)
        return first, (first + 1 + self._index(max(len(self.scans) - 1, 1), generator)) % len(self.scans)

    def draw_triple(
        self, scans: tuple[int, int], generator: torch.Generator, augmentation: str, atlas: int | None = None
    ) -> Triple:
        """An atlas (None: any) and two given scans with their current pseudo label maps, all moved alike."""
        atlas = self.draw_index(generator) if atlas is None else atlas
        return self.triple(atlas, scans, self._grid(generator, augmentation))

    def triple(self, atlas: int, scans: tuple[int, int], grid: Tensor) -> Triple:
        """An atlas and two scans with their current pseudo label maps, seen at a ``grid_sample`` grid."""
        return Triple(self._atlas(atlas), *map(self._scan, scans), _positions(grid), self.spacing)

    def _atlas(self, index: int) -> Source:
        return Source(self.atlas_images[index : index + 1], self.atlas_labels[index : index + 1], self.class_count)

    def _scan(self, index: int) -> Source:
        labels = self.scan_labels[index : index + 1].clone()  # may be renewed while the draw is in use
        return Source(self.scans[index : index + 1], labels, self.class_count)

    def _grid(self, generator: torch.Generator, augmentation: str) -> Tensor:
        if augmentation == "published":
            return affine_grid(self.shape, random_affine(self.shape, self.spacing, generator), self.device)
        strength, turns = random_strength(generator), slab_turns(self.shape, self.spacing)
        matrix = random_affine(self.shape, self.spacing, generator, strength, turns)
        grid = affine_grid(self.shape, matrix, self.device)
        if augmentation != "full":
            return grid
        return grid + random_bending(self.shape, self.spacing, generator, self.device)

    @staticmethod
    def _index(count: int, generator: torch.Generator) -> int:
        return int(torch.randint(count, (1,), generator=generator))


def _positions(grid: Tensor) -> Tensor:
    """(1, 3, D, H, W) of a sampling grid (1, D, H, W, 3)."""
    return grid.permute(0, 4, 1, 2, 3)
