"""A study becomes arrays: every scan on one grid, every bad file named before anything is trained."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.preparation import Prepared, prepare
from brbs.settings import Settings
from brbs.study import Atlas, Study

CORNER = ((9, 4, 6), (15, 12, 13))  # of the bright box, x y z, half open
VALUES = (7, 205)


def write(path, array, spacing=(1.0, 1.0, 1.0), origin=(5.0, -3.0, 20.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def box(size, low, high, value=1):
    array = np.zeros(size[::-1], np.int16)
    array[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = value
    return array


def make_study(folder, scale=1.0, settings=None, atlas_count=2):
    """A study of noisy scans with a bright box, labelled 205 in its lower and 7 in its upper half."""
    folder = folder / "Gehirn für alle"
    size, random = (24, 17, 20), np.random.default_rng(0)
    labels = box(size, *CORNER, value=VALUES[1])
    labels[10:][labels[10:] > 0] = VALUES[0]
    image = (random.uniform(0, 20, labels.shape) + 60 * (labels > 0)).astype(np.float32)
    atlases = [
        Atlas(
            write(folder / f"images/a{index}.nii.gz", image * scale**index),
            write(folder / f"labels/a{index}.nii.gz", labels),
        )
        for index in range(atlas_count)
    ]
    unlabeled = [write(folder / f"unlabeled/u{index}.nrrd", image * scale ** (index - 1)) for index in range(3)]
    schema = LabelSchema.from_values(VALUES, {7: "roof", 205: "cellar"})
    return Study(atlases, unlabeled, schema, settings or Settings())


def test_scans_and_labels_meet_on_the_grid(tmp_path):
    prepared = prepare(make_study(tmp_path), 10**6)
    assert prepared.grid.size == (24, 24, 24) and prepared.grid.spacing == (1.0, 1.0, 1.0)
    assert prepared.atlas_images.shape == prepared.atlas_labels.shape == (2, 24, 24, 24)
    assert prepared.unlabeled_images.shape == (3, 24, 24, 24)
    assert (prepared.atlas_images.dtype, prepared.atlas_labels.dtype) == (np.float32, np.uint8)
    assert prepared.atlas_names == ["a0", "a1"] and prepared.unlabeled_names == ["u0", "u1", "u2"]
    # class 1 is value 7 (upper half), class 2 is value 205; voxel for voxel where the scan is bright
    image, classes = prepared.atlas_images[0], prepared.atlas_labels[0]
    np.testing.assert_array_equal(classes > 0, image > 0.6)
    assert (classes == 1).sum() == 6 * 8 * 3 and (classes == 2).sum() == 6 * 8 * 4
    assert np.argwhere(classes == 1)[:, 0].min() > np.argwhere(classes == 2)[:, 0].max()


def test_scans_of_very_different_scale_look_the_same(tmp_path):
    prepared = prepare(make_study(tmp_path, scale=1000.0), 10**6)
    for image in prepared.unlabeled_images:
        np.testing.assert_allclose(image, prepared.atlas_images[0], atol=1e-5)


def test_every_scan_is_aligned_to_the_first_atlas(tmp_path):
    """An atlas whose box lies elsewhere in the field of view comes to lie over the first one's."""
    study = make_study(tmp_path, settings=Settings(alignment="center-of-mass"), atlas_count=1)
    shifted = np.roll(sitk.GetArrayFromImage(sitk.ReadImage(str(study.atlases[0].image))), (-4, 3, 5), (0, 1, 2))
    study.unlabeled.append(write(tmp_path / "shifted.nii", shifted))
    prepared = prepare(study, 10**6)
    np.testing.assert_array_equal(prepared.unlabeled_images[-1] > 0.6, prepared.atlas_labels[0] > 0)


def test_saved_and_loaded_is_the_same(tmp_path):
    study = make_study(tmp_path)
    study.validation = [study.atlases.pop()]
    prepared = prepare(study, 10**6)
    prepared.save(tmp_path / "cache" / "prepared.npz")
    loaded = Prepared.load(tmp_path / "cache" / "prepared.npz")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["prepared.npz"]
    for name in ("atlas_images", "atlas_labels", "unlabeled_images", "validation_images", "validation_labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(prepared, name))
    for name in ("grid", "schema", "atlas_names", "unlabeled_names"):
        assert getattr(loaded, name) == getattr(prepared, name)
    np.testing.assert_array_equal(loaded.validation_labels, prepared.atlas_labels[:1])


def test_damaged_cache_is_named(tmp_path):
    path = tmp_path / "prepared.npz"
    with pytest.raises(InputError, match="prepared.npz"):
        Prepared.load(path)
    prepare(make_study(tmp_path), 10**6).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="prepared.npz"):
        Prepared.load(path)


def test_progress_runs_from_nothing_towards_one_and_names_the_scans(tmp_path):
    seen = []
    prepare(make_study(tmp_path), 10**6, progress=lambda done, what: seen.append((done, what)))
    fractions = [done for done, _ in seen]
    assert fractions[0] == 0 and fractions == sorted(fractions) and 0.8 < fractions[-1] <= 1
    assert all(any(name in what for _, what in seen) for name in ("a0", "a1", "u0", "u1", "u2"))


def test_structures_lost_on_the_grid_are_told_and_without_any_nothing_is_trained(tmp_path, caplog):
    """A structure of 6 x 8 x 3 mm has no voxel of 7 mm thickness to itself, one of 4 mm has."""
    study = make_study(tmp_path, settings=Settings(spacing=(5.0, 5.0, 7.0)))
    with caplog.at_level(logging.WARNING, "brbs"):
        prepare(study, 10**6)
    assert "a0.nii.gz: roof is too small" in caplog.text
    assert "roof: too small for the working grid of 5 x 5 x 7 mm in every atlas" in caplog.text
    study.settings = Settings(spacing=(8.0, 8.0, 8.0))
    with pytest.raises(InputError, match="roof, cellar: too small.*region"):
        prepare(study, 10**6)


def test_two_structures_of_one_name_are_refused(tmp_path):
    study = make_study(tmp_path)
    study.schema = LabelSchema.from_values(VALUES, dict.fromkeys(VALUES, "roof"))
    with pytest.raises(InputError, match="structures 7 and 205 are both called 'roof'"):
        prepare(study, 10**6)


def test_a_structure_that_nobody_drew_is_not_called_small(tmp_path, caplog):
    study = make_study(tmp_path)
    study.schema = LabelSchema((*study.schema.labels, Label(9, "attic", (0.1, 0.2, 0.3))))
    with caplog.at_level(logging.WARNING, "brbs"):
        prepare(study, 10**6)
    assert "attic: drawn in no atlas" in caplog.text and "too small" not in caplog.text


def test_a_label_that_no_atlas_has_is_told_before_scans_are_placed(tmp_path):
    study, told = make_study(tmp_path), []
    labels = sitk.ReadImage(str(study.atlases[1].labels))
    sitk.WriteImage(sitk.Paste(labels, labels * 0 + 77, [2, 2, 2], [0, 0, 0], [1, 1, 1]), str(tmp_path / "odd.nii.gz"))
    scan = write(tmp_path / "odd scan.nii.gz", sitk.GetArrayFromImage(sitk.ReadImage(str(study.atlases[1].image))))
    study.validation = [Atlas(scan, tmp_path / "odd.nii.gz")]
    with pytest.raises(InputError, match=r"odd\.nii\.gz.*77"):
        prepare(study, 10**6, progress=lambda done, what: told.append(what))
    assert not any("placing" in what for what in told)


def test_bad_files_are_named(tmp_path):
    study = make_study(tmp_path)
    study.unlabeled.append(tmp_path / "gone.nii.gz")
    with pytest.raises(InputError, match="gone.nii.gz"):
        prepare(study, 10**6)

    study = make_study(tmp_path)
    study.unlabeled.append(write(tmp_path / "flat.nii.gz", np.full((8, 8, 8), 3, np.float32)))
    with pytest.raises(InputError, match="flat.nii.gz"):
        prepare(study, 10**6)

    study = make_study(tmp_path)
    truncated = study.unlabeled[0].with_name("cut.nii.gz")
    truncated.write_bytes(study.atlases[0].image.read_bytes()[:3000])
    study.unlabeled.append(truncated)
    with pytest.raises(InputError, match="cut.nii.gz"):
        prepare(study, 10**6)

    study = make_study(tmp_path)
    study.validation = [Atlas(study.unlabeled[0], write(tmp_path / "other.nii.gz", np.ones((9, 9, 9), np.int16)))]
    with pytest.raises(InputError, match="other.nii.gz"):
        prepare(study, 10**6)

    study = make_study(tmp_path)
    study.schema = LabelSchema.from_values((205,), None)
    with pytest.raises(InputError, match="a0.nii.gz"):
        prepare(study, 10**6)


@pytest.mark.parametrize("missing", ["atlases", "unlabeled"])
def test_a_study_without_atlases_or_scans_is_refused(tmp_path, missing):
    study = make_study(tmp_path)
    setattr(study, missing, [])
    with pytest.raises(InputError, match=missing):
        prepare(study, 10**6)
