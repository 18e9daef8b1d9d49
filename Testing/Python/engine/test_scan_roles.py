"""Files of a study by their names alone: what is gone, and what plays two parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brbs.errors import InputError
from brbs.scan_roles import check_scans
from brbs.settings import BALANCED
from brbs.study import Atlas, Study, pair_folders


@pytest.fixture
def of_files(own_study: Path) -> Study:
    """The tiny study."""
    return Study.from_folders(own_study / "images", own_study / "labels", own_study / "unlabeled", BALANCED)


def test_a_study_of_different_scans_is_left_in_peace(of_files: Study, caplog: pytest.LogCaptureFixture) -> None:
    check_scans(of_files)
    assert not caplog.records


@pytest.mark.parametrize("part", ["images/atlas 1.nii.gz", "labels/atlas 0.seg.nrrd", "unlabeled/scan 101.nii.gz"])
def test_a_scan_that_is_gone_is_named_before_any_is_read(part: str, of_files: Study, own_study: Path) -> None:
    (own_study / part).unlink()
    with pytest.raises(InputError, match="put it back") as told:
        check_scans(of_files)
    assert str(own_study / part) in str(told.value)


def test_nothing_is_validated_on_an_atlas_whatever_its_path(of_files: Study, own_study: Path) -> None:
    atlas = of_files.atlases[1]
    of_files.validation = [Atlas(own_study / "labels" / os.pardir / "images" / atlas.image.name, atlas.labels)]
    with pytest.raises(InputError, match="is an atlas") as told:
        check_scans(of_files)
    assert atlas.image.name in str(told.value)


def test_scans_that_are_unlabeled_as_well_are_told(
    of_files: Study, own_study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of_files.validation = pair_folders(own_study / "images", own_study / "labels")[:1]
    of_files.atlases = of_files.atlases[1:]
    of_files.unlabeled += [of_files.validation[0].image, of_files.atlases[0].image]
    check_scans(of_files)
    assert ["atlas 0: validate" in caplog.messages[0], "atlas 1: atlases" in caplog.messages[1]] == [True, True]
