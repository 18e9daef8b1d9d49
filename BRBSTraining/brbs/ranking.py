"""Which unlabeled scan to annotate next: those of which a model is least sure come first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .absence import mean_confidence
from .bundle_file import check_bundle
from .errors import InputError, first_line
from .files import read_json, write_json
from .model_description import model_identity
from .result_table import scan_identity

FORMAT = 1
RANKING_FILE = "ranking.json"  # in the study's folder

log = logging.getLogger("brbs")


@dataclass(frozen=True)
class RankedScan:
    """A scan as a model sees it.

    Attributes:
        scan: its file or DICOM folder.
        confidence: by structure, see :func:`brbs.absence.told_confidence`; empty where it could not be computed.
        message: why not, or what else people should know of the result.
        content: digest of the scan.
    """

    scan: Path
    confidence: dict[str, float | None]
    message: str = ""
    content: str = ""

    @property
    def mean(self) -> float:
        """Mean confidence over the structures found or expected.

        1 for a scan in which the model is sure that there are none (it is not where it looks at a part of the scan);
        -1 for one that it could not be applied to.
        """
        if not self.confidence:
            return -1.0
        mean = mean_confidence(self.confidence)
        return 1.0 if mean is None else mean


@dataclass(frozen=True)
class Ranking:
    """Scans seen so far, the least confident first.

    Attributes:
        model: identity of the model, see :func:`brbs.model_description.model_identity`.
        scans: ranked.
        waiting: number of scans not seen yet.
    """

    model: str
    scans: tuple[RankedScan, ...]
    waiting: int

    @classmethod
    def load(cls, path: str | Path) -> Ranking | None:
        """Reads what :func:`rank` has written; None where there is nothing yet.

        Raises:
            InputError: the file is damaged or of a newer format.
        """
        if not Path(path).exists():
            return None
        content = read_json(path, newest_format=FORMAT)
        try:
            scans = [
                RankedScan(Path(item["scan"]), dict(item["confidence"]), item["message"], item["content"])
                for item in content["scans"]
            ]
            return cls(str(content["model"]), _ranked(scans), int(content["waiting"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged ({error}); remove it and rank again") from error

    def save(self, path: str | Path) -> None:
        """Writes it for :meth:`load`.

        Raises:
            InputError: the file cannot be written.
        """
        scans: list[dict[str, Any]] = [
            {"scan": item.scan, "confidence": item.confidence, "message": item.message, "content": item.content}
            for item in self.scans
        ]
        write_json(path, {"format": FORMAT, "model": self.model, "waiting": self.waiting, "scans": scans})


def rank(
    model: Path, scans: Sequence[Path], path: Path, device: str, tell: Callable[[float, str], None] = lambda *_: None
) -> Ranking:
    """Segments each scan for the model's confidence in it, writing as it goes.

    What the file tells already of the same model and the same scan is not computed again. A scan that cannot be
    segmented is kept with the reason and does not stop the others.

    Args:
        model: folder of the model.
        scans: files and DICOM folders.
        path: of the file for :meth:`Ranking.load`.
        device: as ``--device`` takes it.
        tell: called before each scan with the done share, 0..1, and the scan's name.

    Raises:
        InputError: no such model, a damaged one, or the file cannot be written.
    """
    from .segmentation_job import Segmenter  # here, so that a program without PyTorch can read a ranking

    check_bundle(model)  # else each scan would be told to be unusable
    identity, segmenter = model_identity(model), Segmenter()
    known = _known(path, identity)
    seen: list[RankedScan] = []
    ranking = Ranking(identity, (), len(scans))
    for done, scan in enumerate(scans):
        tell(done / len(scans), scan.name)
        seen.append(_looked_at(segmenter, model, scan, device, known))
        ranking = Ranking(identity, _ranked(seen), len(scans) - len(seen))
        ranking.save(path)
    return ranking


def _known(path: Path, identity: str) -> dict[Path, RankedScan]:
    try:
        before = Ranking.load(path)
    except InputError as error:
        log.warning("%s", error)
        return {}
    return {item.scan: item for item in before.scans} if before is not None and before.model == identity else {}


def _looked_at(segmenter, model: Path, scan: Path, device: str, known: dict[Path, RankedScan]) -> RankedScan:
    from .segmentation_job import SegmentationJob

    try:
        content = scan_identity(scan)
        before = known.get(scan)
        if before is not None and before.confidence and before.content == content:
            return before
        result = segmenter.run(SegmentationJob(model, scan, None, device))
    except InputError as error:
        log.error("%s", error)
        return RankedScan(scan, {}, str(error))
    except Exception as error:  # whatever is wrong with one scan, the next one may be well
        log.exception("%s", scan)
        return RankedScan(scan, {}, f"{scan}: {first_line(error)}")
    return RankedScan(scan, result.confidence or {}, result.message, content)


def _ranked(scans: Sequence[RankedScan]) -> tuple[RankedScan, ...]:
    """The least confident first; at the end what could not be used."""
    return tuple(sorted(scans, key=lambda item: (not item.confidence, item.mean, str(item.scan))))
