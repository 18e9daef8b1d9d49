"""A made-up study for the demonstration: scans of a kidney-like organ in many invented bodies, with true labels.

Every body is the same anatomy, given by formulas in canonical coordinates and seen through its own smooth
deformation. Scans differ in tissue contrast, texture, inhomogeneity of the coil, noise and intensity scale.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .files import write_json
from .volumes import write_image, write_label_map

SPACING = (2.0, 2.0, 2.0)  # mm
STRUCTURES = {1: "Cortex", 2: "Medulla", 3: "Pelvis", 4: "Vessel"}  # label value -> name
# Tissues are numbered like the structures; those from 10 on are background that nobody labels.
AIR, FAT, MUSCLE, BONE, MARROW, NEIGHBOUR, BOWEL, CONTENT = range(10, 18)
BRIGHTNESS = {
    1: 0.58,
    2: 0.40,
    3: 0.92,
    4: 0.14,
    AIR: 0.02,
    FAT: 0.76,
    MUSCLE: 0.27,
    BONE: 0.10,
    MARROW: 0.52,
    NEIGHBOUR: 0.47,
    BOWEL: 0.38,
    CONTENT: 0.80,
}


def make_study(
    folder: str | Path,
    atlases: int = 3,
    unlabeled: int = 30,
    test: int = 10,
    size: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Path:
    """Writes a study of invented scans: the same arguments give the same voxels.

    Args:
        folder: where atlases/images, atlases/labels, unlabeled/images, test/images, test/labels (.nii.gz, paired by
            name) and dataset.json with the label names are written.
        atlases: number of annotated scans.
        unlabeled: number of scans without labels.
        test: number of annotated scans for the final check.
        size: voxels along x, y, z, each 2 mm wide.
        seed: another seed, another set of bodies.

    Returns:
        The folder.

    Raises:
        InputError: a file cannot be written.
    """
    folder = Path(folder)
    groups = (("atlases", "atlas", atlases), ("unlabeled", "scan", unlabeled), ("test", "test", test))
    for group, (sub_folder, name, count) in enumerate(groups):
        for number in range(count):
            image, labels = make_subject(size, np.random.default_rng([seed, group, number]))
            file_name = f"{name}_{number + 1:02d}.nii.gz"
            _write(image, labels, folder / sub_folder, file_name, annotated=sub_folder != "unlabeled")
    _write_description(folder)
    return folder


def make_subject(size: tuple[int, int, int], generator: np.random.Generator) -> tuple[sitk.Image, sitk.Image]:
    """One invented scan (float32) and its label map (uint8, 0 background and the values of STRUCTURES)."""
    grid = sitk.Image(*(int(n) for n in size), sitk.sitkUInt8)
    grid.SetSpacing(SPACING)
    grid.SetOrigin([-(n - 1) / 2 * step for n, step in zip(size, SPACING, strict=True)])
    tissues = _tissues(_body_coordinates(grid, generator), generator)
    labels = sitk.GetImageFromArray(np.where(tissues < AIR, tissues, 0).astype(np.uint8))
    image = sitk.GetImageFromArray(_scan(tissues, generator))
    for result in (image, labels):
        result.CopyInformation(grid)
    return image, labels


def _write(image: sitk.Image, labels: sitk.Image, folder: Path, file_name: str, annotated: bool) -> None:
    write_image(image, folder / "images" / file_name)
    if annotated:
        write_label_map(labels, folder / "labels" / file_name)


def _write_description(folder: Path) -> None:
    names = {"0": "background"} | {str(value): name for value, name in STRUCTURES.items()}
    description = {
        "name": "Invented kidneys",
        "description": "Made by formulas and random numbers; no person was scanned.",
        "labels": names,
        "modality": {"0": "invented MRI"},
    }
    write_json(folder / "dataset.json", description)


# Shape


def _body_coordinates(grid: sitk.Image, generator: np.random.Generator) -> np.ndarray:
    """Canonical coordinates (3, D, H, W) of each voxel: x, y, z, each from -1 to 1 across the average body."""
    size = grid.GetSize()
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in size]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    points = np.stack([x, y, z])
    placed = np.einsum("ij,jdhw->idhw", _random_affine(generator), points)
    placed += generator.normal(0, 0.025, (3, 1, 1, 1))
    return placed + _smooth_noise(z.shape, 3, 3, generator) * 0.05 + _smooth_noise(z.shape, 3, 6, generator) * 0.02


def _random_affine(generator: np.random.Generator) -> np.ndarray:
    """Turns about all three axes (sd 5 degrees) after stretching (sd 6 %), as a 3x3 matrix."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*generator.normal(0, np.deg2rad(5), 3))
    return np.reshape(turn.GetMatrix(), (3, 3)) @ np.diag(np.exp(generator.normal(0, 0.06, 3)))


def _smooth_noise(shape: tuple[int, ...], channels: int, bumps: int, generator: np.random.Generator) -> np.ndarray:
    """Random fields (channels, *shape) of mean 0 and spread 1: Gaussian bumps, so many along each axis."""
    field = generator.normal(size=(channels, bumps + 4, bumps + 4, bumps + 4))
    for axis, length in enumerate(shape, start=1):
        place = np.linspace(1.5, bumps + 1.5, length)
        basis = np.exp(-0.5 * ((place[:, None] - np.arange(bumps + 4)) / 0.7) ** 2)
        basis /= np.linalg.norm(basis, axis=1, keepdims=True)
        field = np.moveaxis(np.tensordot(basis, field, (1, axis)), 0, axis)
    return field


def _ball(p: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Distance from the centre in units of the radii: below 1 inside the ellipsoid."""
    return np.sqrt(sum(((p[i] - centre[i]) / radii[i]) ** 2 for i in range(3)))


def _tube(p: np.ndarray, course: list[tuple[float, ...]], radius: float) -> np.ndarray:
    """Where a tube of this radius runs along straight pieces from point to point."""
    inside = np.zeros(p.shape[1:], dtype=bool)
    for start, end in zip(np.array(course[:-1]), np.array(course[1:]), strict=True):
        along = end - start
        offset = p - start[:, None, None, None]
        share = np.clip(np.tensordot(along, offset, 1) / (along @ along), 0, 1)
        inside |= np.linalg.norm(offset - along[:, None, None, None] * share, axis=0) < radius
    return inside


def _tissues(p: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The tissue at canonical coordinates (3, D, H, W) as (D, H, W) numbers; later tissues cover earlier ones."""
    tissues = np.full(p.shape[1:], AIR)
    body = _ball(p, (-0.1, 0.0, 0.0), (1.06, 0.97, 3.0))
    tissues[body < 1] = FAT
    tissues[(body < 0.92) & (body > 0.80)] = MUSCLE
    _paint_distractors(tissues, p, generator)
    _paint_organ(tissues, p)
    return tissues


def _paint_distractors(tissues: np.ndarray, p: np.ndarray, generator: np.random.Generator) -> None:
    """Muscle, spine, a neighbouring organ, and bowel loops that lie elsewhere in every body."""
    tissues[_ball(p, (-0.62, 0.50, 0.0), (0.24, 0.24, 3.0)) < 1] = MUSCLE
    spine = _ball(p, (-0.95, 0.25, 0.0), (0.27, 0.27, 3.0))
    disc = np.cos(p[2] * 7.5) > 0.8
    tissues[spine < 1] = BONE
    tissues[(spine < 0.78) & ~disc] = MARROW
    tissues[_ball(p, (0.38, -0.68, 0.60), (0.62, 0.30, 0.62)) < 1] = NEIGHBOUR
    for _ in range(4):
        centre = generator.uniform((-0.7, -0.75, -0.9), (0.55, -0.5, 0.3))
        loop = _ball(p, centre, generator.uniform(0.13, 0.24, 3))
        tissues[loop < 1] = BOWEL
        tissues[loop < 0.6] = CONTENT


def _paint_organ(tissues: np.ndarray, p: np.ndarray) -> None:
    """Cortex round lobed medulla round pelvis, dented on the side where the vessel comes in."""
    centre, hilum = (0.18, 0.10, -0.04), (-0.36, 0.02, -0.04)
    dent = np.exp(-(_ball(p, hilum, (0.34, 0.34, 0.32)) ** 2))
    depth = _ball(p, centre, (0.58, 0.56, 0.78)) + 0.45 * dent
    lobes = np.cos(6 * np.arctan2(p[2] - centre[2], p[0] - centre[0])) * np.cos(4 * (p[1] - centre[1]))
    vessel = _tube(p, [(-0.54, -0.26, -1.6), (-0.50, -0.22, 0.1), (-0.56, -0.26, 1.6)], 0.14)
    vessel |= _tube(p, [(-0.50, -0.22, 0.1), (-0.34, -0.14, 0.08), (-0.16, 0.02, 0.0), (0.1, 0.08, -0.04)], 0.11)
    tissues[depth < 1] = 1
    tissues[depth < 0.70 + 0.07 * lobes] = 2
    tissues[_ball(p, (0.06, 0.09, -0.06), (0.28, 0.24, 0.40)) < 1] = 3
    tissues[vessel & (tissues != 3)] = 4


# Appearance


def _scan(tissues: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What a scanner might make of the tissues (D, H, W): float32 intensities on a scale of its own."""
    shades = np.zeros(max(BRIGHTNESS) + 1)
    for tissue, brightness in BRIGHTNESS.items():
        shades[tissue] = max(brightness + generator.normal(0, 0.045), 0.02)
    clean = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(shades[tissues]), 0.35))
    texture = [_smooth_noise(clean.shape, 1, bumps, generator)[0] for bumps in (9, 22)]
    clean *= 1 + 0.04 * texture[0] + 0.05 * texture[1]
    clean = np.clip(clean, 0, None) ** np.exp(generator.normal(0, 0.12))
    clean *= np.exp(_smooth_noise(clean.shape, 1, 2, generator)[0] * 0.12)
    noise = generator.normal(0, generator.uniform(0.02, 0.04), (2, *clean.shape))
    magnitude = np.hypot(clean + noise[0], noise[1])
    return (magnitude * 10 ** generator.uniform(0, 3)).astype(np.float32)
