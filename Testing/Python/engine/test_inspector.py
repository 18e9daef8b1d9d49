"""What ``brbs warp`` writes is what the method computes, in the conventions that other programs read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_inspection import ALPHA, BETA, OBLIQUE, inspection, write_sources
from tiny_model import smooth_noise, tiny_bundle
from tiny_study import run

from brbs.anisotropy import axis_scales
from brbs.errors import InputError
from brbs.grid import WorkingGrid
from brbs.inspector import inspect
from brbs.inspector_files import FILES
from brbs.inspector_output import displacement_transform, physical_frame
from brbs.inspector_sample import SamplePath
from brbs.losses import lncc
from brbs.model import ModelBundle
from brbs.steps import displacement, finer
from brbs.volumes import read_label_schema
from brbs.warp import jacobian_determinant, warp


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a model, two scans, and in ``out`` what was written for the second atlas."""
    folder = tmp_path_factory.mktemp("inspector")
    write_sources(folder)
    assert inspect(inspection(folder, folder / "out")) == [folder / "out" / name for name in FILES]
    return folder


def image(folder: Path, name: str) -> sitk.Image:
    return sitk.ReadImage(str(folder / "out" / name))


def array(folder: Path, name: str) -> np.ndarray:
    return sitk.GetArrayFromImage(image(folder, name))


class Expected:
    """The engine's own functions on the model and the scans as training would see them."""

    def __init__(self, folder: Path) -> None:
        self.bundle = bundle = ModelBundle.load(folder / "model")
        scans = [sitk.ReadImage(str(folder / name), sitk.sitkFloat32) for name in ("style.nrrd", "space.nrrd")]
        grid = bundle.grid
        style, self.space = (torch.as_tensor(grid.sample_image(scan, grid.place(scan)))[None, None] for scan in scans)
        self.atlas = torch.as_tensor(bundle.atlas_images[1])[None, None]
        labels = torch.as_tensor(bundle.atlas_labels[1]).long()
        self.onehot = torch.nn.functional.one_hot(labels, 3).movedim(-1, 0)[None].float()
        network = bundle.registration_net()
        scales = axis_scales(bundle.settings.registration_scale, grid.spacing[::-1])
        with torch.no_grad():
            self.flow = displacement(network, self.atlas, self.space, scales)
        scans = (style[0, 0].numpy(), self.space[0, 0].numpy())
        self.path = SamplePath(bundle, 1, *scans, torch.device("cpu"))


@pytest.fixture(scope="module")
def expected(folder: Path) -> Expected:
    return Expected(folder)


def test_the_files_hold_the_sample(folder: Path, expected: Expected) -> None:
    sample = expected.path.sample(ALPHA, BETA)
    for name, values in (
        ("generated.nrrd", sample.generated_image),
        ("atlas.nrrd", expected.atlas[0, 0]),
        ("style_difference.nrrd", sample.style_difference),
        ("style_switch.nrrd", sample.style_switch),
        ("space.nrrd", expected.space[0, 0]),
        ("jacobian.nrrd", jacobian_determinant(expected.flow)[0, 0]),
    ):
        np.testing.assert_allclose(array(folder, name), values, atol=1e-5, err_msg=name)
    decode = expected.bundle.schema.decode
    for name, classes in (("generated", sample.generated_labels), ("atlas", sample.atlas_labels)):
        np.testing.assert_array_equal(array(folder, f"{name}.seg.nrrd"), decode(classes))
    np.testing.assert_array_equal(array(folder, "style.seg.nrrd"), decode(sample.style_labels))


def test_label_maps_carry_the_names_of_the_structures(folder: Path) -> None:
    for name in ("generated.seg.nrrd", "atlas.seg.nrrd", "style.seg.nrrd"):
        assert [entry[:2] for entry in read_label_schema(folder / "out" / name)] == [(3, "Hülle"), (70, "Kern")]


def test_all_files_lie_where_the_space_scan_lies(folder: Path) -> None:
    scan, space = sitk.ReadImage(str(folder / "space.nrrd")), image(folder, "space.nrrd")
    for name in FILES:
        if name.endswith(".nrrd"):
            found = image(folder, name)
            for get in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
                np.testing.assert_allclose(getattr(found, get)(), getattr(space, get)(), atol=1e-6, err_msg=name)
    # Same voxels and same spacing: the scan's own values, brought to 0..1, at the same places.
    resampled = sitk.GetArrayFromImage(sitk.Resample(sitk.Cast(scan, sitk.sitkFloat32), space))
    inside = (array(folder, "space.nrrd") > 0) & (array(folder, "space.nrrd") < 1)
    assert np.corrcoef(resampled[inside], array(folder, "space.nrrd")[inside])[0, 1] > 0.9999


def looked_at_inside(flow: torch.Tensor) -> np.ndarray:
    """Voxels p whose p + flow(p) lies on the grid: beyond its edge ITK and the engine extrapolate differently."""
    shape = flow.shape[2:]
    places = np.indices(shape) + flow[0].numpy()
    return np.logical_and.reduce([(p >= 0) & (p <= n - 1) for p, n in zip(places, shape, strict=True)])


def test_the_written_transform_gives_the_engine_s_warp_in_simpleitk(folder: Path, expected: Expected) -> None:
    transform = sitk.ReadTransform(str(folder / "out" / "displacement.h5"))
    atlas = image(folder, "atlas.nrrd")
    found = sitk.GetArrayFromImage(sitk.Resample(atlas, atlas, transform, sitk.sitkLinear, 0.0))
    inside = looked_at_inside(expected.flow)
    assert inside.mean() > 0.3
    warped = warp(expected.atlas, expected.flow)[0, 0].numpy()
    np.testing.assert_allclose(found[inside], warped[inside], rtol=0, atol=1e-4)
    assert np.abs(found - sitk.GetArrayFromImage(atlas)).mean() > 0.01


def test_a_share_of_the_transform_and_of_the_difference_give_the_sample(folder: Path, expected: Expected) -> None:
    """How a viewer makes other samples without asking the networks again."""
    field = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(folder / "out" / "displacement.h5")))
    whole = field.GetDisplacementField()
    share = sitk.GetImageFromArray(ALPHA * sitk.GetArrayFromImage(whole), isVector=True)
    share.CopyInformation(whole)
    scaled = sitk.DisplacementFieldTransform(share)
    styled = image(folder, "atlas.nrrd") + image(folder, "style_difference.nrrd") * BETA
    found = sitk.GetArrayFromImage(sitk.Resample(styled, styled, scaled, sitk.sitkLinear, 0.0))
    inside = looked_at_inside(ALPHA * expected.flow)
    difference = torch.as_tensor(expected.path.sample(ALPHA, BETA).style_difference)
    twice = warp(expected.atlas + BETA * difference, ALPHA * expected.flow)[0, 0].numpy()
    np.testing.assert_allclose(found[inside], twice[inside], rtol=0, atol=1e-4)
    # The sample itself interpolates the style scan once: sharp noise like this loses by the second time.
    assert np.abs(found - array(folder, "generated.nrrd"))[inside].mean() < 0.01


def test_the_transform_points_from_fixed_to_moving_in_mm() -> None:
    grid = WorkingGrid((8, 6, 5), (1.0, 2.0, 3.0))
    frame = grid.image(np.zeros(grid.shape, np.uint8))
    frame.SetDirection(OBLIQUE)
    flow = np.zeros((3, *grid.shape), np.float32)
    flow[0], flow[2] = 1.0, -2.0  # 1 voxel up in z, 2 voxels down in x
    start = frame.TransformIndexToPhysicalPoint((4, 3, 2))
    end = displacement_transform(flow, frame).TransformPoint(start)
    np.testing.assert_allclose(end, frame.TransformIndexToPhysicalPoint((2, 3, 3)), atol=1e-9)


@pytest.mark.parametrize("scales", [(1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 2, 2)])
@pytest.mark.parametrize("shape", [(8, 12, 10), (7, 11, 9)])
def test_a_coarse_transform_is_the_engine_s_own_at_full_resolution(scales: tuple, shape: tuple[int, ...]) -> None:
    """To a ten-thousandth of a voxel at every voxel, the grid's edges included."""
    grid = WorkingGrid(shape[::-1], (1.0, 2.0, 3.0))
    frame = grid.image(np.zeros(shape, np.uint8))
    frame.SetDirection(OBLIQUE)
    coarse = 3 * smooth_noise((1, 3, *(-(-size // scale) for size, scale in zip(shape, scales))), 3)
    flow = finer(coarse, scales, shape)[0].numpy()
    transform = displacement_transform(coarse[0].numpy(), frame, scales)
    for index in np.ndindex(*shape):
        start = frame.TransformIndexToPhysicalPoint(index[::-1])
        end = frame.TransformPhysicalPointToContinuousIndex(transform.TransformPoint(start))
        np.testing.assert_allclose(np.subtract(end[::-1], index), flow[(slice(None), *index)], atol=1e-4)


def test_an_affine_placement_stays_in_the_grid_frame() -> None:
    grid = WorkingGrid((8, 6, 5), (1.0, 2.0, 3.0))
    stretched = sitk.AffineTransform([1.2, 0, 0, 0, 1, 0, 0, 0, 1], (5.0, 6.0, 7.0))
    assert physical_frame(grid, stretched).GetOrigin() == pytest.approx(grid.origin)
    turned = sitk.AffineTransform(OBLIQUE, (5.0, 6.0, 7.0))
    assert physical_frame(grid, turned).GetDirection() == pytest.approx(OBLIQUE)


def test_figures_tell_alpha_beta_fit_and_folding(folder: Path, expected: Expected) -> None:
    figures = json.loads((folder / "out" / "figures.json").read_text(encoding="utf-8"))
    assert (figures["alpha"], figures["beta"], figures["atlas"]) == (ALPHA, BETA, "atlas 1")
    before, after = lncc(expected.atlas, expected.space), lncc(warp(expected.atlas, expected.flow), expected.space)
    assert figures["lncc"] == pytest.approx({"before": float(before), "after": float(after)}, abs=1e-5)
    folded = jacobian_determinant(expected.flow) <= 0
    whole = figures["folded_fraction"]["whole"]
    assert whole["all"] == pytest.approx(float(folded.float().mean()), abs=1e-3)
    labels = warp(expected.onehot, expected.flow).argmax(1, keepdim=True)
    for index, name in ((1, "Hülle"), (2, "Kern")):
        assert whole["structures"][name] == pytest.approx(float(folded[labels == index].float().mean()), abs=1e-2)


def test_folding_and_lost_structures_show_in_the_figures() -> None:
    bundle = tiny_bundle()
    registration = dict(bundle.registration)
    registration["out_conv.weight"] = torch.zeros_like(registration["out_conv.weight"])
    registration["out_conv.bias"] = torch.tensor([0.0, 0.0, 100.0])  # everything is fetched from outside
    volume = smooth_noise((1, 1, *bundle.grid.shape), 0)[0, 0].numpy()
    path = SamplePath(replace(bundle, registration=registration), 0, volume, volume, torch.device("cpu"))
    away = path.sample(1.0, 0.0)
    assert away.figures["folded_fraction"]["whole"] == {"all": 0.0, "structures": {"Hülle": None, "Kern": None}}
    assert not away.generated_labels.any()


def test_the_contact_sheet_is_a_picture_of_six_columns(folder: Path) -> None:
    sheet = array(folder, "contact_sheet.png")
    height, width = sheet.shape[:2]
    assert width > 1200 and height > 400
    panels = sheet[height // 6 : -height // 8, width // 30 : -width // 12, :3].astype(float)
    drawn = [column.std() for column in np.array_split(panels, 6, axis=1)]
    assert min(drawn) > 10


def test_samples_are_put_on_a_sheet_that_goes_when_none_are_asked_for(folder: Path, tmp_path: Path) -> None:
    written = inspect(inspection(folder, tmp_path, samples=5))
    assert written[-1] == tmp_path / "samples.png"
    sheet = sitk.GetArrayFromImage(sitk.ReadImage(str(written[-1])))[..., :3].astype(float)
    tiles = [tile for row in np.array_split(sheet[:-60], 2) for tile in np.array_split(row, 3, axis=1)]
    assert sorted(tile.std() > 10 for tile in tiles) == [False, *[True] * 5]
    drawn = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["samples"]
    assert len(drawn) == 5 and all(0 <= value <= 1 for draw in drawn for value in (draw["alpha"], draw["beta"]))
    inspect(inspection(folder, tmp_path))
    assert not (tmp_path / "samples.png").exists()
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["samples"] == []


@pytest.mark.parametrize("samples", [-1, 101])
def test_too_many_samples_are_refused(folder: Path, tmp_path: Path, samples: int) -> None:
    refused(folder, tmp_path / "out", f"--samples {samples}: must be 0 to 100", samples=samples)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_seeds_that_no_generator_takes_are_refused(folder: Path, tmp_path: Path, seed: int) -> None:
    refused(folder, tmp_path / "out", f"--seed {seed}: must be 0 to", seed=seed, samples=1)


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
def test_numbers_that_are_none_are_refused(folder: Path, tmp_path: Path, capsys, name: str, value: str) -> None:
    asked = inspection(folder, tmp_path / "out")
    sources = ["--model", asked.model, "--atlas", asked.atlas, "--style", asked.style, "--space", asked.space]
    assert run(["warp", *sources, f"--{name}", value, "--output", asked.output]) == 2
    assert f"--{name}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def refused(folder: Path, output: Path, match: str, **changes) -> None:
    with pytest.raises(InputError, match=match):
        inspect(inspection(folder, output, **changes))


def test_an_unknown_atlas_lists_those_there_are(folder: Path, tmp_path: Path) -> None:
    refused(folder, tmp_path / "out", "atlas 7.* there are: atlas 0, atlas 1", atlas="atlas 7.nrrd")
    assert not (tmp_path / "out").exists()


def test_an_unreadable_scan_is_named_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.nrrd").write_text("not a scan")
    refused(folder, tmp_path / "out", r"broken\.nrrd", space=str(tmp_path / "broken.nrrd"))
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_generate_are_named(folder: Path, tmp_path: Path) -> None:
    tiny_bundle(registration=None).save(tmp_path / "only S")
    refused(folder, tmp_path / "out", "only S: has no registration", model=str(tmp_path / "only S"))
    bundle = tiny_bundle()
    empty = replace(bundle, atlas_images=bundle.atlas_images[:0], atlas_labels=bundle.atlas_labels[:0])
    replace(empty, provenance={}).save(tmp_path / "no atlas")
    refused(folder, tmp_path / "out", "no atlas: holds no atlases", model=str(tmp_path / "no atlas"))


def test_a_scan_in_the_output_folder_is_not_overwritten(folder: Path) -> None:
    before = (folder / "space.nrrd").read_bytes()
    refused(folder, folder, r"space\.nrrd: would be overwritten")
    assert (folder / "space.nrrd").read_bytes() == before


def test_an_output_that_cannot_be_written_keeps_what_was_there(folder: Path, tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "atlas.nrrd").write_text("of before")

    def full(*_) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr("brbs.inspector_output.sitk.WriteTransform", full)
    refused(folder, output, r"out.displacement\.h5: cannot be written")
    assert [path.name for path in output.iterdir()] == ["atlas.nrrd"]
    assert (output / "atlas.nrrd").read_text() == "of before"
