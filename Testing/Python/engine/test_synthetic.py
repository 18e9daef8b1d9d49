"""The made-up study: repeatable, varied, and no gift to whoever copies an atlas."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.image_files import bare_name, list_images
from brbs.metrics import dice
from brbs.settings import Settings
from brbs.study import Study
from brbs.synthetic import STRUCTURES, make_study, make_subject

SIZE = (48, 56, 48)


@pytest.fixture(scope="module")
def subjects():
    made = [make_subject(SIZE, np.random.default_rng([7, number])) for number in range(6)]
    return [(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(labels)) for image, labels in made]


def test_study_can_be_loaded_as_it_is(tmp_path):
    folder = make_study(tmp_path / "Büro", atlases=2, unlabeled=2, test=1, size=(24, 28, 20))
    parts = ("atlases/images", "atlases/labels", "unlabeled/images")
    study = Study.from_folders(*(folder / part for part in parts), Settings())
    assert len(study.atlases) == len(study.unlabeled) == 2
    assert {label.value: label.name for label in study.schema.labels} == STRUCTURES
    tests = [list_images(folder / "test" / part) for part in ("images", "labels")]
    assert [bare_name(path) for path in tests[0]] == [bare_name(path) for path in tests[1]]
    assert sitk.ReadImage(str(tests[0][0])).GetSize() == (24, 28, 20)


def test_same_seed_same_voxels_whatever_else_is_made(tmp_path):
    counts = {"unlabeled": 0, "test": 1, "size": (16, 18, 16)}
    first = make_study(tmp_path / "a", atlases=1, **counts)
    second = make_study(tmp_path / "b", atlases=2, **counts)
    other = make_study(tmp_path / "c", atlases=1, seed=1, **counts)
    for part in ("atlases/images/atlas_01.nii.gz", "test/images/test_01.nii.gz", "test/labels/test_01.nii.gz"):
        voxels = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / part))) for folder in (first, second, other)]
        assert np.array_equal(voxels[0], voxels[1])
        assert not np.array_equal(voxels[0], voxels[2])


def test_every_body_has_every_structure(subjects):
    for _, labels in subjects:
        counts = np.bincount(labels.ravel(), minlength=5)
        assert (counts[1:] > 400).all()
        assert counts[0] > counts[1:].sum()


def test_structures_are_nested(subjects):
    for _, labels in subjects:
        medulla = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray((labels == 2).astype(np.uint8)))) > 0
        touched = np.bincount(labels[medulla & (labels != 2)], minlength=5)
        assert touched[0] < 0.02 * touched.sum()


def test_copying_an_atlas_is_clearly_imperfect(subjects):
    pairs = [(a, b) for a in range(len(subjects)) for b in range(len(subjects)) if a != b]
    scores = np.array([list(dice(subjects[a][1], subjects[b][1], STRUCTURES).values()) for a, b in pairs])
    assert 0.45 < scores.mean() < 0.65
    assert scores.mean(axis=0).max() < 0.75


def test_scans_differ_in_scale_but_show_the_organ(subjects):
    scales = [np.percentile(image, 99) for image, _ in subjects]
    assert max(scales) / min(scales) > 10
    for image, labels in subjects:
        cortex, medulla, pelvis, vessel = (np.median(image[labels == value]) for value in STRUCTURES)
        assert pelvis > cortex > medulla > vessel
