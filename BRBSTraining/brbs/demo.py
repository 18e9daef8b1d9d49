"""The whole way on made-up scans: study, training, segmentation, evaluation, figures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .demo_figure import draw_demo
from .device import choose_device, voxel_budget
from .errors import InputError
from .image_files import bare_name, list_images
from .inspector import Inspection, inspect
from .job import JobWriter
from .label_schema import LabelSchema
from .metrics import dice
from .model import ModelBundle
from .model_folder import TRAINING_FOLDER
from .predictor import Predictor
from .preparation import prepare
from .propagation import Propagation
from .report import evaluate_folders
from .restoration import restore
from .settings import BALANCED
from .study import Study
from .synthetic import make_study
from .trainer import Budget, Trainer
from .volumes import read_image, read_label_map, write_label_map

log = logging.getLogger("brbs")

MINUTES = 3.0  # of training, so that everything ends within five minutes on two cores
SIZE = (40, 48, 40)  # voxels of a scan, x y z


def run_demo(output: Path, device_name: str = "auto") -> dict[str, tuple[float, float]]:
    """Runs the demonstration and says what came out.

    Writes into ``output``: ``study`` (scans and label maps), ``model``, ``segmentations``, ``registration-only``,
    ``report`` (table and figures of the segmentations), ``sample`` (a generated sample), ``demo.png``.

    Returns:
        Mean Dice per structure, "mean" included: registration of the atlases alone, trained network.

    Raises:
        InputError: unknown device, or the folder holds something else.
    """
    device = choose_device(device_name)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: is not an empty folder; choose a new one")
    log.info("making scans of 43 invented bodies")
    study_folder, model_folder = make_study(output / "study", size=SIZE), output / "model"
    study = Study.from_folders(
        *(study_folder / part for part in ("atlases/images", "atlases/labels", "unlabeled/images")), BALANCED
    )
    study.save(study_folder)
    prepared = prepare(study, voxel_budget(device, study.schema.class_count))
    log.info("training for %g minutes on %s", MINUTES, device)
    with JobWriter(model_folder / TRAINING_FOLDER) as job:
        if not Trainer(prepared, study.settings, Budget(minutes=MINUTES), device, model_folder, job).run():
            raise KeyboardInterrupt
    bundle = ModelBundle.load(model_folder)
    tests = study_folder / "test"
    log.info("segmenting the test scans")
    segment_tests(bundle, device, tests / "images", output)
    evaluate_folders(output / "segmentations", tests / "labels", output / "report", tests / "images")
    scans = study.unlabeled
    atlas = study.atlases[0].name
    inspect(Inspection(model_folder, atlas, scans[0], scans[1], output / "sample", 0.7, 0.5, device_name))
    results = compare_methods(output, tests / "labels", bundle.schema)
    draw_demo(output, tests, bundle.schema, results)
    print(table(results))
    figures = (output / "demo.png", output / "report/report.png", output / "sample/contact_sheet.png")
    log.info("figures: %s, %s, %s", *figures)
    return results


def segment_tests(bundle: ModelBundle, device, images: Path, output: Path) -> None:
    """Writes each scan's label map twice: by the trained network, and by majority vote of the registered atlases."""
    predictor, propagation = Predictor(bundle, device), Propagation(bundle, device)
    grid = bundle.grid
    for path in list_images(images):
        image = read_image(path)
        name = f"{bare_name(path)}.nii.gz"
        write_label_map(predictor.segment(image).labels, output / "segmentations" / name, bundle.schema.meta)
        placement = grid.place(image, predictor.reference)
        classes = restore(grid, propagation.vote(grid.sample_image(image, placement)), image, placement)
        labels = predictor.label_values(classes)
        write_label_map(labels, output / "registration-only" / name, bundle.schema.meta)


def compare_methods(output: Path, references: Path, schema: LabelSchema) -> dict[str, tuple[float, float]]:
    """Mean Dice over the test scans per structure and over all: (registration alone, trained network)."""
    columns = []
    for folder in ("registration-only", "segmentations"):
        cases = [_dice(output / folder / path.name, path, schema.values) for path in list_images(references)]
        means = {label.name: float(np.mean([case[label.value] for case in cases])) for label in schema.labels}
        columns.append(means | {"mean": float(np.mean(list(means.values())))})
    return {name: (columns[0][name], columns[1][name]) for name in columns[0]}


def _dice(prediction: Path, reference: Path, values: tuple[int, ...]) -> dict[int, float]:
    found = read_label_map(prediction, allow_empty=True)
    return dice(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(read_label_map(reference)), values)


def table(results: dict[str, tuple[float, float]]) -> str:
    """The comparison as plain text."""
    rows = [f"{'Dice, 10 test scans':22s}{'registered atlases':>20s}{'trained network':>18s}"]
    rows += [f"{name:22s}{alone:20.3f}{trained:18.3f}" for name, (alone, trained) in results.items()]
    return "\n".join(rows)
