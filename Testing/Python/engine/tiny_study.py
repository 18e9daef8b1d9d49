"""A study of tiny made-up scans that trains in a second, as files and as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from brbs.__main__ import main
from brbs.grid import WorkingGrid
from brbs.label_schema import Label, LabelSchema
from brbs.preparation import Prepared
from brbs.settings import Settings
from brbs.volumes import write_label_map

SIZE = (16, 20, 16)  # x, y, z
SPACING = (1.0, 1.5, 2.0)
ORIGIN = (5.0, -3.0, 20.0)
SCHEMA = LabelSchema((Label(3, "Hülle", (0.9, 0.4, 0.3)), Label(70, "Kern", (0.3, 0.7, 0.9))))
SETTINGS = Settings(channels=(8, 8, 16, 8, 8), segmentation_share=0.3, registration_share=0.3, atlas_steps=0)
SHARES = ["--segmentation-share", "0.3", "--registration-share", "0.3", "--atlas-steps", "0"]
OPTIONS = ["--channels", "8", "8", "16", "8", "8", *SHARES]


def subject(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scan (float32) and label map (values of SCHEMA), both (z, y, x): a box in a box, moved and tinted at random."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SIZE[::-1], np.uint8)
    z, y, x = random.integers(2, 5, 3)
    labels[z : z + 9, y : y + 11, x : x + 9] = 3
    labels[z + 3 : z + 6, y + 3 : y + 8, x + 3 : x + 6] = 70
    tissue = np.array([20.0, 60.0, 100.0]) * random.uniform(0.7, 1.3)
    image = tissue[np.searchsorted((0, 3, 70), labels)] + random.normal(0, 3, labels.shape)
    return image.astype(np.float32), labels


def on_grid(array: np.ndarray, spacing: tuple[float, ...] = SPACING) -> sitk.Image:
    """The array as an image with the study's geometry."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(ORIGIN)
    return image


def write_study(folder: Path, atlases: int = 2, unlabeled: int = 3) -> Path:
    """Writes images, labels (.seg.nrrd with names) and unlabeled scans; returns the folder."""
    for name in ("images", "labels", "unlabeled"):
        (folder / name).mkdir(parents=True)
    for seed in range(atlases):
        image, labels = subject(seed)
        sitk.WriteImage(on_grid(image), str(folder / f"images/atlas {seed}.nii.gz"))
        write_label_map(on_grid(labels), folder / f"labels/atlas {seed}.seg.nrrd", SCHEMA.meta)
    for seed in range(100, 100 + unlabeled):
        sitk.WriteImage(on_grid(subject(seed)[0]), str(folder / f"unlabeled/scan {seed}.nii.gz"))
    return folder


def prepared_study(atlases: int = 2, unlabeled: int = 3, validation: int = 0) -> Prepared:
    """The same kind of study, prepared."""
    groups = [[subject(start + seed) for seed in range(count)] for start, count in ((0, atlases), (100, unlabeled))]
    groups.append([subject(200 + seed) for seed in range(validation)])
    images = [np.array([image / 130 for image, _ in group], np.float32).clip(0, 1) for group in groups]
    labels = [SCHEMA.encode(np.array([labels for _, labels in group], np.uint8)) for group in groups]
    shape = SIZE[::-1]
    grid = WorkingGrid(SIZE, SPACING, "none", "percentiles", (0.5, 99.5), (0.0, 2048.0))
    return Prepared(
        grid=grid,
        schema=SCHEMA,
        atlas_images=images[0],
        atlas_labels=labels[0],
        unlabeled_images=images[1],
        validation_images=images[2].reshape(-1, *shape),
        validation_labels=labels[2].reshape(-1, *shape),
        atlas_names=[f"atlas {index}" for index in range(atlases)],
        unlabeled_names=[f"scan {index}" for index in range(unlabeled)],
    )


def train_arguments(study: Path, output: Path, *more: str, steps: int = 6) -> list[str]:
    scans = ["--atlas-images", study / "images", "--atlas-labels", study / "labels", "--unlabeled", study / "unlabeled"]
    arguments = ["train", *scans, "--output", output, "--device", "cpu", *OPTIONS, "--steps", steps, *more]
    return [str(argument) for argument in arguments]


def run(arguments: list[str]) -> int:
    """Exit code, whether ``main`` returns it or argparse exits with it."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
