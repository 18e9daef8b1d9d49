"""One run: a method, trained with so many atlases and a seed, on all validation scans; what is done is kept."""

from __future__ import annotations

import csv
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from methods import ANTS, METHODS, VOTE

from brbs.errors import InputError
from brbs.files import read_json, write_json
from brbs.image_files import bare_name, list_images
from brbs.model import ModelBundle
from brbs.model_folder import CHECKPOINT_FILE, TRAINING_FOLDER
from brbs.predictor import Predictor
from brbs.propagation import Propagation
from brbs.report import evaluate_folders
from brbs.restoration import restore
from brbs.study import Study
from brbs.volumes import read_image, write_label_map
from brbs.warp import jacobian_determinant

ENGINE = Path(__file__).resolve().parents[3] / "BRBSTraining"
RESULT = "result.json"

log = logging.getLogger("accuracy")


@dataclass(frozen=True)
class Run:
    """A method, a number of atlases (the first by name), a seed, and where they belong.

    Attributes:
        length: of the training, ("--minutes", "10") or ("--steps", "600").
    """

    method: str
    atlases: int
    seed: int
    output: Path
    length: tuple[str, str]

    @property
    def folder(self) -> Path:
        return self.output / self.method / f"{self.atlases}-atlases" / f"seed-{self.seed}"

    @property
    def model(self) -> Path:
        """Folder of the model that the method uses."""
        trained = METHODS[self.method].trained_as or self.method
        return Run(trained, self.atlases, self.seed, self.output, self.length).folder / "model"

    @property
    def trained(self) -> Path:
        """File that tells how long the model was trained, once it is."""
        return self.model.parent / "trained.json"


def result_of(run: Run, study: Study, images: Path, references: Path, device: str) -> dict:
    """The result of a run, computed where it is not there yet.

    Args:
        run: what to do.
        study: all atlases, and the unlabeled scans.
        images: folder of the validation scans.
        references: folder of their true label maps.
        device: as of ``brbs train``.

    Returns:
        ``dice`` and ``hd95_mm`` (a list per structure over the cases), ``folded`` (share of voxels that the
        registration network folds, None without one), ``steps`` and ``minutes`` of the training.

    Raises:
        InputError: what is kept was trained for another length.
    """
    _check_length(run)
    path = run.folder / RESULT
    if path.is_file():
        return read_json(path)
    log.info("%s, %d atlases, seed %d", run.method, run.atlases, run.seed)
    chosen = replace(study, atlases=study.atlases[: run.atlases])
    found, finds = run.folder / "found", METHODS[run.method].finds
    told = {"folded": None, "steps": None, "minutes": None}
    if finds == ANTS:
        from ants_vote import write_votes

        start = time.perf_counter()
        write_votes(chosen, images, found)
        told["minutes"] = (time.perf_counter() - start) / 60
    else:
        _train(run, chosen, device)
        told |= _trained(run, images, found if finds == VOTE else None)
        if finds != VOTE:
            _brbs("segment", "--model", run.model, "--input", images, "--output", found, "--device", device)
    summary = evaluate_folders(found, references, run.folder / "report", images)
    write_json(path, told | _by_case(run.folder / "report/cases.csv") | {"overall": summary["overall"]})
    return read_json(path)


def _check_length(run: Run) -> None:
    if run.trained.is_file() and (kept := tuple(read_json(run.trained)["length"])) != run.length:
        raise InputError(f"{run.trained.parent}: was trained with {' '.join(kept)}; give another --output")


def _train(run: Run, study: Study, device: str) -> None:
    """Trains the run's model, or goes on where it was interrupted."""
    if run.trained.is_file():
        return
    if (run.model / TRAINING_FOLDER / CHECKPOINT_FILE).is_file():
        _brbs("train", "--output", run.model, "--device", device, "--resume")
    else:
        folder = run.model.parent / "study"
        study.save(folder)
        options = METHODS[METHODS[run.method].trained_as or run.method].options
        seed = ("--seed", str(run.seed), "--device", device, "--overwrite")
        _brbs("train", "--study", folder, "--output", run.model, *run.length, *options, *seed)
    write_json(run.trained, {"length": run.length})


def _trained(run: Run, images: Path, votes: Path | None) -> dict:
    """What is known of the trained model; the atlases' votes, where wanted, are written on the way."""
    bundle = ModelBundle.load(run.model)
    known = {"steps": bundle.provenance["step"], "minutes": bundle.provenance["training_minutes"]}
    if bundle.settings.segmentation_share == 1:
        return known  # the registration network has learned nothing
    device = torch.device("cpu")
    predictor, propagation, grid, folded = Predictor(bundle, device), Propagation(bundle, device), bundle.grid, []
    for path in list_images(images):
        image = read_image(path)
        placement = grid.place(image, predictor.reference)
        volume = grid.sample_image(image, placement)
        folded += [float((jacobian_determinant(field) <= 0).float().mean()) for field in propagation.fields(volume)]
        if votes is not None:
            classes = restore(grid, propagation.vote(volume), image, placement)
            write_label_map(predictor.label_values(classes), votes / f"{bare_name(path)}.nii.gz", bundle.schema.meta)
    return known | {"folded": float(np.mean(folded))}


def _by_case(table: Path) -> dict[str, dict[str, list[float | None]]]:
    """Dice and distance of each structure, in the order of the cases; None where a distance does not exist."""
    measures: dict[str, dict[str, list[float | None]]] = {"dice": {}, "hd95_mm": {}}
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            for name, by_structure in measures.items():
                by_structure.setdefault(row["name"], []).append(float(row[name]) if row[name] else None)
    return measures


def _brbs(*arguments) -> None:
    paths = os.pathsep.join([str(ENGINE), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "brbs", *map(str, arguments)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True)
