"""Label maps compared with references, as a table of all cases, a summary and a figure."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import plain, replacing
from .image_files import list_images
from .label_schema import MOST_LABELS, Label, LabelSchema
from .metrics import compare
from .report_figure import Overlay, draw_report
from .segments import LabelMeta
from .study import by_name, with_dataset_names
from .volumes import check_pair, label_values, read_image, read_label_map, read_label_schema

FORMAT = 1
MEASURES = {"dice": "Dice", "hd95_mm": "HD95 (mm)", "assd_mm": "ASSD (mm)", "volume_difference_percent": "volume (%)"}
COLUMNS = ("case", "value", "name", *MEASURES, "volume_mm3", "reference_volume_mm3")

log = logging.getLogger("brbs")


@dataclass(frozen=True)
class Case:
    """A label map, its reference and, perhaps, the scan they belong to."""

    name: str
    prediction: Path
    reference: Path
    image: Path | None = None


def evaluate_folders(
    prediction_dir: str | Path,
    reference_dir: str | Path,
    output_dir: str | Path,
    images_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Compares the label maps of two folders, paired by file name, and writes a report.

    ``cases.csv`` has a row per case and structure, ``summary.json`` what is returned, ``report.png`` a box per
    structure and the median and the worst case. Distances that do not exist (structure missed, or invented) are
    empty in the table and left out of the means; ``n`` counts what went into each. Nothing is written before all
    files have been read.

    Args:
        prediction_dir: label maps to judge; those without reference are named in the log and left out.
        reference_dir: true label maps. Names and colours come from .seg.nrrd, names also from a dataset.json.
        output_dir: folder of the report, made if missing.
        images_dir: scans to draw the two cases on.

    Returns:
        ``cases`` (count), ``median_case``, ``worst_case`` (names, by mean Dice), ``structures`` (a list of objects with
        ``value``, ``name`` and the measures) and ``overall``; each measure is {mean, sd, median, n}, with None for
        what cannot be computed.

    Raises:
        InputError: missing or empty folder; a reference without prediction or (with ``images_dir``) scan; two files
            of one name; unreadable label map; a pair on different grids; the report cannot be written.
    """
    cases = _pair(Path(prediction_dir), Path(reference_dir), images_dir)
    measured = {case.name: _measure(case) for case in cases}
    schema = _schema(cases, (row["value"] for rows in measured.values() for row in rows), Path(reference_dir))
    rows = _table(measured, schema)
    scores = {name: float(np.mean([row["dice"] for row in rows if row["case"] == name])) for name in measured}
    ranked = sorted(cases, key=lambda case: scores[case.name])
    shown = {"median": ranked[len(ranked) // 2], "worst": ranked[0]}
    summary = _summary(rows, schema, len(cases), shown)
    overlays = {
        f"{title} case, mean Dice {scores[case.name]:.3f}: {case.name}": _load(case) for title, case in shown.items()
    }
    figure = draw_report(rows, schema, overlays)
    output = Path(output_dir)
    with replacing(output / "summary.json") as told, replacing(output / "cases.csv") as table:
        with replacing(output / "report.png") as picture:  # all of them or none
            figure.savefig(picture, dpi=110)
            _write_table(rows, table)
            told.write_text(json.dumps(summary, indent=1, ensure_ascii=False, default=plain) + "\n", encoding="utf-8")
    return summary


def format_summary(summary: dict[str, Any]) -> str:
    """The summary as a text table: mean and standard deviation per structure and over all."""
    entries = [*summary["structures"], {"name": "all", **summary["overall"]}]
    width = max(len("structure"), *(len(entry["name"]) for entry in entries))
    lines = [f"{'structure':{width}}" + "".join(f"{title:>17}" for title in MEASURES.values())]
    for entry in entries:
        cells = (_cell(entry[measure], 3 if measure == "dice" else 2) for measure in MEASURES)
        lines.append(f"{entry['name']:{width}}" + "".join(f"{cell:>17}" for cell in cells))
    return "\n".join([*lines, f"{summary['cases']} cases, mean ± standard deviation"])


def _cell(statistics: dict[str, float | None], digits: int) -> str:
    if statistics["mean"] is None:
        return "-"
    return f"{statistics['mean']:.{digits}f} ± {statistics['sd']:.{digits}f}"


# Reading


def _pair(predictions: Path, references: Path, images: str | Path | None) -> list[Case]:
    found, wanted = by_name(list_images(predictions)), by_name(list_images(references))
    scans = None if images is None else by_name(list_images(images))
    if not wanted:
        raise InputError(f"{references}: holds no label maps; give the folder of the references")
    for name, path in wanted.items():
        if name not in found:
            raise InputError(f"{path}: has no prediction; add one named {name} to {predictions}")
        if scans is not None and name not in scans:
            raise InputError(f"{path}: has no scan; add one named {name} to {images}")
    extra = [path.name for name, path in found.items() if name not in wanted]
    if extra:
        log.warning("%s: files without a reference are left out (%d): %s", predictions, len(extra), ", ".join(extra))
    return [Case(name, found[name], path, scans[name] if scans else None) for name, path in wanted.items()]


def _measure(case: Case) -> list[dict[str, float]]:
    """The measures of every structure that is in the reference or in the prediction."""
    prediction, reference = read_label_map(case.prediction, True), read_label_map(case.reference, True)
    check_pair(reference, prediction, case.reference, case.prediction)
    values = sorted({*label_values(prediction), *label_values(reference)})
    if len(values) > MOST_LABELS:
        raise InputError(f"{case.prediction}: has, with its reference, {len(values)} values; are both label maps?")
    return compare(prediction, reference, values)


def _schema(cases: Sequence[Case], values: Iterable[int], references: Path) -> LabelSchema:
    """Names and colours of the values found: from the references, then the predictions, then a dataset.json."""
    values = set(values)
    if not values:
        raise InputError(f"{references}: all label maps are empty; is this the folder of the references?")
    described: dict[int, LabelMeta] = {}
    for path in (*(case.reference for case in cases), *(case.prediction for case in cases)):
        for meta in read_label_schema(path) or ():
            described.setdefault(meta[0], meta)
    named = LabelSchema(tuple(Label(*meta) for value, meta in described.items() if value in values))
    return with_dataset_names(named.merge(LabelSchema.from_values(values)), references)


def _load(case: Case) -> Overlay:
    """Prediction, reference and scan (or None) of a case to be drawn."""
    prediction, reference = read_label_map(case.prediction, True), read_label_map(case.reference, True)
    if case.image is None:
        return prediction, reference, None
    image = read_image(case.image)
    check_pair(image, reference, case.image, case.reference)
    return prediction, reference, image


# Counting


def _table(measured: dict[str, list[dict[str, float]]], schema: LabelSchema) -> list[dict[str, Any]]:
    """A row per case and structure; a structure that a case lacks in both label maps counts as agreed upon."""
    absent = dict.fromkeys(COLUMNS[3:], 0.0) | {"dice": 1.0}
    rows = []
    for case, results in measured.items():
        by_value = {row["value"]: row for row in results}
        for label in schema.labels:
            rows.append({"case": case, "name": label.name} | absent | by_value.get(label.value, {"value": label.value}))
    return rows


def _summary(rows: list[dict[str, Any]], schema: LabelSchema, count: int, shown: dict[str, Case]) -> dict[str, Any]:
    structures = [
        {"value": label.value, "name": label.name} | _all_statistics(row for row in rows if row["value"] == label.value)
        for label in schema.labels
    ]
    named = {f"{title}_case": case.name for title, case in shown.items()}
    return {"format": FORMAT, "cases": count, **named, "structures": structures, "overall": _all_statistics(rows)}


def _all_statistics(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    rows = list(rows)
    return {measure: _statistics([row[measure] for row in rows]) for measure in MEASURES}


def _statistics(values: Sequence[float]) -> dict[str, float | None]:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return {"mean": None, "sd": None, "median": None, "n": 0}
    return {
        "mean": float(np.mean(finite)),
        "sd": float(np.std(finite, ddof=1)) if len(finite) > 1 else 0.0,
        "median": float(np.median(finite)),
        "n": len(finite),
    }


# Writing


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value != value else value for key, value in row.items()})
