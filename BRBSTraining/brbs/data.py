"""The prepared study as tensors: drawing atlases and scans, rotated, scaled and bent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import affine_grid, random_affine, random_bending
from .warp import sample


@dataclass
class Triple:
    """One draw for a BRBS step: an atlas and two unlabeled scans under the same rotation and scale.

    Images are (1, 1, D, H, W) in [0, 1]; label maps (1, K, D, H, W), one-hot before interpolation.

    Attributes:
        atlas_source, scan_1_source: image and label map in one, (1, 1 + K, D, H, W), before rotation and scale.
        positions: where in the sources the drawn voxels lie, (1, 3, D, H, W) in ``grid_sample`` coordinates.
    """

    atlas_image: Tensor
    atlas_onehot: Tensor
    scan_1: Tensor
    scan_2: Tensor
    scan_1_labels: Tensor
    scan_2_labels: Tensor
    atlas_source: Tensor
    scan_1_source: Tensor
    positions: Tensor


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
        return tuple(self.atlas_images.shape[2:])

    def onehot(self, labels: Tensor) -> Tensor:
        """(N, D, H, W) class indices to (N, K, D, H, W) float32."""
        return F.one_hot(labels.long(), self.class_count).movedim(-1, 1).float()

    def draw_index(self, generator: torch.Generator) -> int:
        """Index of one atlas."""
        return self._index(len(self.atlas_images), generator)

    def draw_atlas(self, generator: torch.Generator, bend: bool, atlas: int | None = None) -> tuple[Tensor, Tensor]:
        """An atlas (None: any), rotated, scaled and, if asked, bent.

        Returns:
            Image (1, 1, D, H, W) and label map (1, K, D, H, W).
        """
        index = self.draw_index(generator) if atlas is None else atlas
        grid = self._grid(generator, bend)
        labels = self.onehot(self.atlas_labels[index : index + 1])
        drawn = sample(torch.cat([self.atlas_images[index : index + 1], labels], dim=1), grid)
        return drawn[:, :1], drawn[:, 1:]

    def draw_scans(self, generator: torch.Generator) -> tuple[int, int]:
        """Indices of two different unlabeled scans (of one scan twice where there is only one)."""
        first = self._index(len(self.scans), generator)
        return first, (first + 1 + self._index(max(len(self.scans) - 1, 1), generator)) % len(self.scans)

    def draw_triple(
        self, scans: tuple[int, int], generator: torch.Generator, bend: bool, atlas: int | None = None
    ) -> Triple:
        """An atlas (None: any) and two given scans with their current pseudo label maps, all bent alike if asked."""
        atlas = self.draw_index(generator) if atlas is None else atlas
        return self.triple(atlas, scans, self._grid(generator, bend))

    def triple(self, atlas: int, scans: tuple[int, int], grid: Tensor) -> Triple:
        """An atlas and two scans with their current pseudo label maps, seen at a ``grid_sample`` grid."""
        atlas_source = self._source(self.atlas_images, self.atlas_labels, atlas)
        scan_sources = [self._source(self.scans, self.scan_labels, scan) for scan in scans]
        drawn = sample(torch.cat([atlas_source, *scan_sources], dim=1), grid)
        k = self.class_count
        image, onehot, scan_1, labels_1, scan_2, labels_2 = drawn.split([1, k, 1, k, 1, k], dim=1)
        positions = grid.permute(0, 4, 1, 2, 3)
        return Triple(
            image, onehot, scan_1, scan_2, labels_1, labels_2, atlas_source, scan_sources[0], positions
        )

    def _source(self, images: Tensor, labels: Tensor, index: int) -> Tensor:
        return torch.cat([images[index : index + 1], self.onehot(labels[index : index + 1])], dim=1)

    def _grid(self, generator: torch.Generator, bend: bool) -> Tensor:
        grid = affine_grid(self.shape, random_affine(self.shape, self.spacing, generator), self.device)
        return grid + random_bending(self.shape, generator, self.device) if bend else grid

    @staticmethod
    def _index(count: int, generator: torch.Generator) -> int:
        return int(torch.randint(count, (1,), generator=generator))
