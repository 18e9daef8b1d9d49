"""Two scans, a tiny model, and what ``brbs warp`` is asked to make of them."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
from tiny_model import tiny_bundle
from tiny_study import subject

from brbs.inspector import Inspection

OBLIQUE = sitk.VersorTransform((1.0, 2.0, -0.5), 0.4).GetMatrix()
ALPHA, BETA = 0.6, 0.4


def write_scan(path: Path, seed: int, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)) -> Path:
    image = sitk.GetImageFromArray(subject(seed)[0])
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((40.0, -7.5, 12.0))
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def write_sources(folder: Path) -> Path:
    """Writes the model, the style scan and an oblique space scan."""
    tiny_bundle().save(folder / "model")
    write_scan(folder / "style.nrrd", 100)
    write_scan(folder / "space.nrrd", 101, OBLIQUE)
    return folder


def inspection(folder: Path, output: Path, **changes) -> Inspection:
    """The second atlas of the model in ``folder`` on the way to its two scans; ``changes`` replaces arguments."""
    names = {"model": "model", "atlas": "elsewhere/atlas 1.nii.gz", "style": "style.nrrd", "space": "space.nrrd"}
    sources = {key: folder / changes.pop(key, name) for key, name in names.items()}
    return Inspection(**sources, output=output, **({"alpha": ALPHA, "beta": BETA, "device": "cpu"} | changes))
