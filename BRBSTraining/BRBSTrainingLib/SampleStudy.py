"""A made-up study, and scans beside it, among Slicer's sample data; all made on the user's computer, not downloaded."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from brbs.image_files import list_images
from brbs.settings import DEFAULT_PRESET, PRESETS
from brbs.study import Study
from brbs.synthetic import make_study

from .StudyFolder import StudyFolder

NAME, SCANS_NAME = "BRBSTinyStudy", "BRBSTinyScans"
TESTS = "test/images"  # in the study's folder
SIZE = (32, 36, 32)  # voxels along x, y, z


def registerSampleStudy() -> None:
    """Puts study and scans on the page of the Sample Data module."""
    try:
        import SampleData
    except ImportError:  # an application made without that module
        return
    for name, action in ((NAME, openSampleStudy), (SCANS_NAME, loadSampleScans)):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="BRBS",
            sampleName=name,
            uris=[],  # lists of one length are asked for, also where nothing is downloaded
            fileNames=[],
            nodeNames=[],
            thumbnailFileName=str(_icon()),
            customDownloader=action,
        )


def makeSampleStudy(folder: Path) -> StudyFolder:
    """Makes three atlases and twelve unlabeled scans of an invented organ, unless they are there.

    Raises:
        InputError: a file cannot be written.
    """
    if StudyFolder.holdsStudy(folder):
        return StudyFolder.open(folder)
    make_study(folder, atlases=3, unlabeled=12, test=3, size=SIZE)
    parts = (folder / part for part in ("atlases/images", "atlases/labels", "unlabeled/images"))
    made = StudyFolder(folder, Study.from_folders(*parts, PRESETS[DEFAULT_PRESET].settings))
    made.save()
    return made


def openSampleStudy(source) -> list:
    """Makes the study in Slicer's cache and opens it in the BRBS Training module.

    Returns:
        The nodes that Sample Data would show: none, as a study is files.
    """
    study = _study()
    slicer.util.selectModule("BRBSTraining")
    slicer.modules.brbstraining.widgetRepresentation().self().panel.show(study.folder)
    return []


def loadSampleScans(source) -> list:
    """Loads scans of the same organ that are not in the study, to be segmented by what was trained on it.

    Returns:
        Their volume nodes.
    """
    return [slicer.util.loadVolume(str(scan)) for scan in list_images(_study().folder / TESTS)]


def _study() -> StudyFolder:
    slicer.util.showStatusMessage(_("Making scans of an invented organ…"), 3000)
    return makeSampleStudy(Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / NAME)


def _icon() -> Path:
    return Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "BRBSTraining.png"
