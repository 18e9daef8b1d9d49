"""How much memory a training step takes, as measured, and what follows for working grid and way of computing.

Figures of ``Testing/benchmarks/bench_memory.py``: float32 on a CPU, networks of the default widths, both learning. A
device that computes in 16 bits needs less. Grids of thick slices take up to a tenth more, which the usable share
covers.
"""

from __future__ import annotations

from dataclasses import dataclass

SCAN_VOXEL = 5  # bytes that each voxel of a scan and its label map takes where it is kept
USABLE_SHARE = 0.6  # of the memory that is free when it is asked for; others want some, too


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a step: a fixed part, and for each voxel of the working grid a part that grows with the classes.

    Attributes:
        fixed: networks, optimisers, scratch.
        voxel: of each voxel.
        voxel_class: of each voxel and class, background included.
    """

    fixed: float
    voxel: float
    voxel_class: float

    def needed(self, voxels: int, classes: int) -> int:
        """Bytes of a step."""
        return int(self.fixed + voxels * (self.voxel + classes * self.voxel_class))

    def most_voxels(self, available: int, classes: int, scans: int = 0) -> int:
        """Voxels of the largest working grid that so many bytes are enough for, scans and their label maps included."""
        return max(0, int((available - self.fixed) / (self.voxel + classes * self.voxel_class + scans * SCAN_VOXEL)))


PLAIN = StepMemory(0.5e9, 3900, 115)
#: Blocks of the networks keep their ends alone and compute what lies between anew; see ``UNet.sparing``.
SPARING = StepMemory(0.9e9, 900, 64)


def is_short(free: int, voxels: int, classes: int) -> bool:
    """Whether a step has to spare memory."""
    return PLAIN.needed(voxels, classes) > USABLE_SHARE * free
