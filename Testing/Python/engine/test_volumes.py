"""Reading, checking and writing scans and label maps, good and bad ones."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
from dicom_series import write_series

from brbs.errors import InputError
from brbs.image_files import bare_name, list_images
from brbs.volumes import check_pair, read_image, read_label_map, read_label_schema, write_image, write_label_map

LIVER = (
    5,
    "Leber",
    (0.5, 0.25, 0.125),
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^",
)
BRAIN = (300, "Großhirn rechts (ü)", (1.0, 0.0, 0.5), "")


def make_image(array: np.ndarray) -> sitk.Image:
    """An oblique, anisotropic image of a (D, H, W) array."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-31.5, 12.25, 193.75))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    return image


@pytest.fixture
def scan() -> sitk.Image:
    return make_image(np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32))


@pytest.fixture
def labels() -> sitk.Image:
    array = np.zeros((6, 8, 10), np.int32)
    array[1:4, 2:5, 2:6] = 5
    array[4:6, 5:8, 6:9] = 300
    return make_image(array)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Müller Studie 1"


def assert_same_grid(one: sitk.Image, other: sitk.Image) -> None:
    assert one.GetSize() == other.GetSize()
    for get in (sitk.Image.GetSpacing, sitk.Image.GetOrigin, sitk.Image.GetDirection):
        np.testing.assert_allclose(get(one), get(other), atol=1e-5)


def test_names_and_listing(folder: Path, scan: sitk.Image) -> None:
    assert bare_name("x/Fall 1.v2.SEG.nrrd") == "Fall 1.v2"
    assert bare_name("Fall.nii.gz") == "Fall"
    for name in ("b ö.nii.gz", "a.mha", "._a.mha", "notes.txt"):
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "empty").mkdir()
    write_series(folder / "c series", np.zeros((3, 8, 8), np.int16))
    assert [path.name for path in list_images(folder)] == ["a.mha", "b ö.nii.gz", "c series"]
    assert list_images(folder / "c series") == [folder / "c series"]
    assert list_images(folder / "empty") == []


@pytest.mark.parametrize("name", ["nowhere", "a file"])
def test_listing_refuses_what_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(InputError, match=name):
        list_images(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_images_keep_voxels_and_geometry(folder: Path, scan: sitk.Image, suffix: str) -> None:
    path = folder / f"neu ü{suffix}"
    write_image(scan, path)
    image = read_image(path)
    assert_same_grid(image, scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan))
    assert [entry.name for entry in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".seg.nrrd"])
def test_label_maps_keep_values_and_geometry_in_the_smallest_type(
    folder: Path, labels: sitk.Image, suffix: str
) -> None:
    path = folder / f"Maske 1{suffix}"
    write_label_map(labels, path, [LIVER, BRAIN])
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkUInt16
    found = read_label_map(path)
    assert_same_grid(found, labels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(labels))
    write_label_map(sitk.Clamp(labels, upperBound=5), path)
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkUInt8


def test_float_storage_and_negative_labels_are_read_as_integers(tmp_path: Path, labels: sitk.Image) -> None:
    path = tmp_path / "float.nii.gz"
    write_image(sitk.Cast(labels, sitk.sitkFloat32) - 5, path)
    found = read_label_map(path)
    assert found.GetPixelID() == sitk.sitkInt16
    assert set(np.unique(sitk.GetArrayFromImage(found))) == {-5, 0, 295}


def test_segments_keep_name_colour_and_terminology(tmp_path: Path, labels: sitk.Image) -> None:
    path = tmp_path / "Größe.seg.nrrd"
    write_label_map(labels, path, [LIVER, BRAIN])
    assert read_label_schema(path) == [LIVER, BRAIN]
    assert read_label_schema(tmp_path / "other.nii.gz") is None


def test_slicerio_reads_our_segments(tmp_path: Path, labels: sitk.Image) -> None:
    path = tmp_path / "ours.seg.nrrd"
    write_label_map(labels, path, [LIVER])
    ours = slicerio.read_segmentation(str(path))
    liver = slicerio.segment_from_name(ours, "Leber")
    assert liver["color"] == [0.5, 0.25, 0.125]
    assert liver["terminology"]["type"] == ["SCT", "10200004", "Liver"]
    expected = sitk.GetArrayFromImage(labels) == 5
    np.testing.assert_array_equal(slicerio.segment_mask(ours, liver).T, expected)
    np.testing.assert_allclose(ours["ijkToLPS"][:3, 3], labels.GetOrigin())
    assert slicerio.segment_names(ours) == ["Leber", "Label 300"]  # no voxel is lost for want of a segment


def test_what_others_call_their_segments_does_no_harm(tmp_path: Path, labels: sitk.Image) -> None:
    path = tmp_path / "theirs.seg.nrrd"
    write_label_map(labels, path, [LIVER])
    before = read_label_schema(path)
    path.write_bytes(path.read_bytes().replace(b"Segment0_Name:=", b"Segment0_M\xfcller:=x\nSegment0_Name:=", 1))
    assert b"\xfc" in path.read_bytes() and read_label_schema(path) == before
    assert sitk.GetArrayFromImage(read_label_map(path)).max() == 300


def test_overlapping_segments_of_slicerio(tmp_path: Path) -> None:
    ijk_to_lps = np.diag([0.5, 1.5, 2.0, 1.0])
    made = slicerio.create_segmentation((5, 6, 7), ijk_to_lps)
    first, second = np.zeros((2, 5, 6, 7), bool)
    first[1:4, 1:4, 1:4] = second[2:5, 2:5, 2:5] = True
    slicerio.add_segment(made, first, {"id": "a", "name": "Niere", "color": [1.0, 0.0, 0.0]})
    slicerio.add_segment(made, second, {"id": "b", "name": "Tumor", "color": [0.0, 1.0, 0.0]})
    path = tmp_path / "two layers.seg.nrrd"
    slicerio.write_segmentation(str(path), made)

    assert [(value, name) for value, name, _, _ in read_label_schema(path)] == [(1, "Niere"), (2, "Tumor")]
    found = read_label_map(path)
    expected = np.where(second, 2, np.where(first, 1, 0)).T
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)
    assert found.GetSpacing() == (0.5, 1.5, 2.0)


def test_fractional_segmentation_is_refused(tmp_path: Path, labels: sitk.Image) -> None:
    labels.SetMetaData("Segment0_ID", "a")
    labels.SetMetaData("Segmentation_MasterRepresentation", "Fractional labelmap")
    sitk.WriteImage(labels, str(tmp_path / "f.seg.nrrd"))
    with pytest.raises(InputError, match="fractional"):
        read_label_map(tmp_path / "f.seg.nrrd")


def test_dicom_folder_gives_its_longest_series(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.random.default_rng(0).integers(0, 1000, (6, 8, 10)).astype(np.int16)
    write_series(folder, array, series=2)
    write_series(folder, array[:3], series=1)
    image = read_image(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 0.8, 2.0))
    np.testing.assert_allclose(image.GetOrigin(), (-10, -20, 0))
    assert "2 DICOM series" in caplog.text and str(folder) in caplog.text


def test_dicom_folder_with_a_missing_slice_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_series(folder, np.arange(6 * 64).reshape(6, 8, 8))[2].unlink()
    with pytest.raises(InputError, match="missing"):
        read_image(folder)
    assert capfd.readouterr().err == ""


def test_folder_without_dicom_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    with pytest.raises(InputError, match="no DICOM series"):
        read_image(folder)
    assert capfd.readouterr().err == ""


def edited(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[2, 3, 4] = value
    return array


VOXELS = np.random.default_rng(1).normal(size=(6, 8, 10)).astype(np.float32)
BAD_IMAGES = {
    "nan": (make_image(edited(VOXELS, np.nan)), "NaN"),
    "infinite": (make_image(edited(VOXELS, np.inf)), "infinite"),
    "constant": (make_image(np.full_like(VOXELS, 7)), "same value"),
    "thin": (make_image(VOXELS[:1]), "one voxel thick"),
    "4-D": (sitk.JoinSeries([make_image(VOXELS)] * 2), "4-D"),
    "colour": (sitk.Compose([make_image(VOXELS)] * 3), "3 components"),
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_are_refused_by_name(folder: Path, case: str, suffix: str) -> None:
    image, message = BAD_IMAGES[case]
    path = folder / f"schlecht ä{suffix}"
    folder.mkdir()
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")


BAD_LABELS = {
    "fraction": (make_image(edited(np.ones_like(VOXELS), 1.5)), "whole numbers"),
    "nan": (make_image(edited(np.ones_like(VOXELS), np.nan)), "NaN"),
    "empty": (make_image(np.zeros((6, 8, 10), np.uint8)), "background only"),
    "4-D": (sitk.JoinSeries([make_image(np.ones((6, 8, 10), np.uint8))] * 2), "4-D"),
    "components": (sitk.Compose([make_image(np.ones((6, 8, 10), np.uint8))] * 2), "2 components"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_label_maps_are_refused_by_name(tmp_path: Path, case: str) -> None:
    image, message = BAD_LABELS[case]
    path = tmp_path / "labels 1.nii.gz"
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match=message) as caught:
        read_label_map(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_empty_result_is_read_when_allowed(tmp_path: Path) -> None:
    write_label_map(BAD_LABELS["empty"][0], tmp_path / "result.nii.gz")
    assert not sitk.GetArrayFromImage(read_label_map(tmp_path / "result.nii.gz", allow_empty=True)).any()


@pytest.mark.parametrize("keep", [0.6, 0.995])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_files_are_refused(tmp_path: Path, scan: sitk.Image, suffix: str, keep: float) -> None:
    path = tmp_path / f"cut{suffix}"
    write_image(scan, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="truncated"):
        read_image(path)


def test_nifti_cut_before_compression_is_refused(tmp_path: Path, labels: sitk.Image) -> None:
    path = tmp_path / "cut inside.nii.gz"
    write_label_map(labels, path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-50]))
    with pytest.raises(InputError, match="truncated"):
        read_label_map(path)


@pytest.mark.parametrize("content", [b"", b"no image at all" * 40])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kaputt.nii.gz"
    path.write_bytes(content)
    for read in (read_image, read_label_map):
        with pytest.raises(InputError, match="kaputt.nii.gz: cannot be read"):
            read(path)


@pytest.mark.parametrize(("name", "compress"), [("big.nii.gz", gzip.compress), ("big.nii", bytes)])
def test_nan_in_a_big_endian_nifti_is_refused(
    tmp_path: Path, scan: sitk.Image, name: str, compress: Callable[[bytes], bytes]
) -> None:
    little, path = tmp_path / "little.nii", tmp_path / name
    write_image(scan, little)
    content = bytearray(little.read_bytes())
    voxels = sitk.GetArrayFromImage(scan).astype(">f4")
    content[:352] = big_endian_nifti_header(content[:352])
    content[352:] = voxels.tobytes()
    path.write_bytes(compress(bytes(content)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), voxels)
    content[-4:] = np.array(np.nan, ">f4").tobytes()
    path.write_bytes(compress(bytes(content)))
    with pytest.raises(InputError, match="NaN"):
        read_image(path)


def big_endian_nifti_header(header: bytes) -> bytes:
    """Swaps the bytes of the numbers in a NIfTI-1 header."""
    fields = ("i", 0, 1), ("i", 32, 1), ("h", 36, 1), ("h", 40, 8), ("f", 56, 3), ("h", 68, 4), ("f", 76, 11)
    fields += ("h", 120, 1), ("f", 124, 4), ("i", 140, 2), ("h", 252, 2), ("f", 256, 18)
    swapped = bytearray(header)
    for kind, start, count in fields:
        size = struct.calcsize(kind)
        numbers = struct.unpack_from(f"<{count}{kind}", header, start)
        swapped[start : start + count * size] = struct.pack(f">{count}{kind}", *numbers)
    return bytes(swapped)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.nii.gz: no such file"):
        read_image(tmp_path / "nowhere.nii.gz")


def changed(labels: sitk.Image, what: str) -> sitk.Image:
    labels = sitk.Image(labels)
    if what == "size":
        return labels[:-1]
    if what == "spacing":
        labels.SetSpacing((0.7, 0.8, 2.6))
    if what == "direction":
        labels.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    if what == "origin":
        labels.SetOrigin((-31.5, 12.25, 194.0))
    return labels


@pytest.mark.parametrize("what", ["size", "spacing", "direction", "origin"])
def test_pair_on_different_grids_is_refused(scan: sitk.Image, labels: sitk.Image, what: str) -> None:
    with pytest.raises(InputError, match=f"a.seg.nrrd: {what} .* differs from .*a.nii.gz"):
        check_pair(scan, changed(labels, what), "a.nii.gz", "a.seg.nrrd")


def test_pair_may_differ_by_rounding(scan: sitk.Image, labels: sitk.Image) -> None:
    labels.SetOrigin([value + 1e-4 for value in labels.GetOrigin()])
    labels.SetSpacing([value * (1 + 1e-5) for value in labels.GetSpacing()])
    check_pair(scan, labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_full_disk_leaves_the_old_file_and_nothing_partial(
    tmp_path: Path, suffix: str, request: pytest.FixtureRequest
) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    path = tmp_path / f"Ergebnis ü{suffix}"
    path.write_bytes(b"old")
    noise = make_image(np.random.default_rng(0).integers(1, 250, (20, 30, 40)).astype(np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match="Ergebnis ü.*cannot be written"):
            write_label_map(noise, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_output_below_a_file_and_unknown_suffix_are_refused(tmp_path: Path, labels: sitk.Image) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_label_map(labels, tmp_path / "file" / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.png: .*\.seg\.nrrd"):
        write_label_map(labels, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
