"""Checkpoints of the original release: what is taken, and what is refused with the file's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_study import SETTINGS, content, run

from brbs.errors import InputError
from brbs.model import ModelBundle
from brbs.networks import RegistrationNet, SegmentationNet
from brbs.release_weights import import_release

CHANNELS = SETTINGS.channels
SIZE, SPACING = (16, 20, 24), (1.0, 1.5, 2.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a checkpoint of each network, and some that are neither."""
    torch.save(SegmentationNet(4, CHANNELS).state_dict(), tmp_path / "Seger.pth")
    torch.save(RegistrationNet(CHANNELS).state_dict(), tmp_path / "Reger.pth")
    torch.save(RegistrationNet((4, 8, 4)).state_dict(), tmp_path / "narrow.pth")
    torch.save(SegmentationNet(4, CHANNELS), tmp_path / "pickled.pth")
    (tmp_path / "text.pth").write_text("not weights")
    incomplete = SegmentationNet(4, CHANNELS).state_dict()
    del incomplete["unet.up1.conv.double_conv.4.bias"]
    torch.save(incomplete, tmp_path / "incomplete.pth")
    return tmp_path


def test_grid_intensity_and_labels_are_those_asked_for(folder: Path) -> None:
    bundle = import_release(folder / "Seger.pth", None, SIZE, SPACING, (-100, 300))
    assert (bundle.grid.size, bundle.grid.spacing) == (SIZE, SPACING)
    assert (bundle.grid.intensity, bundle.grid.window) == ("window", (-100, 300))
    assert bundle.schema.values == (1, 2, 3)
    assert bundle.atlas_images.shape == bundle.atlas_labels.shape == (0, 24, 20, 16)
    with pytest.raises(InputError, match="no registration network"):
        bundle.registration_net()


def test_without_window_the_release_s_own_is_used(folder: Path) -> None:
    assert import_release(folder / "Seger.pth", folder / "Reger.pth", SIZE, SPACING).grid.window == (0, 2048)


def test_weights_saved_from_data_parallel_are_the_same_weights(folder: Path) -> None:
    state = torch.load(folder / "Seger.pth", weights_only=True)
    torch.save({f"module.{name}": value for name, value in state.items()}, folder / "parallel.pth")
    found = import_release(folder / "parallel.pth", None, SIZE, SPACING).segmentation
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("segmentation", "registration", "named", "reason"),
    [
        ("missing.pth", None, "missing.pth", "no such file"),
        ("text.pth", None, "text.pth", "not a checkpoint"),
        ("pickled.pth", None, "pickled.pth", "not a checkpoint"),
        ("Reger.pth", None, "Reger.pth", "not a segmentation"),
        ("Seger.pth", "Seger.pth", "Seger.pth", "not a registration"),
        ("Seger.pth", "narrow.pth", "narrow.pth", "widths"),
        ("incomplete.pth", None, "incomplete.pth", "up1.conv.double_conv.4.bias"),
    ],
)
def test_other_files_are_refused_by_name(folder: Path, segmentation, registration, named, reason) -> None:
    with pytest.raises(InputError, match=f"{named}: .*{reason}"):
        import_release(folder / segmentation, registration and folder / registration, SIZE, SPACING)


def test_a_pytorch_that_runs_what_checkpoints_hide_reads_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1+cu121"))
    with pytest.raises(InputError, match=r"Seger\.pth: PyTorch 2\.5\.1.*2\.6 or newer"):
        import_release(folder / "Seger.pth", None, SIZE, SPACING)


def test_nothing_of_the_model_before_passes_for_the_imported_one(folder: Path, model: Path, capsys) -> None:
    earlier = Path(shutil.copytree(model, folder / "Modell"))
    before = content(earlier)
    grid = ["--size", *SIZE, "--spacing", *SPACING]
    command = ["import-weights", *grid, "--output", earlier, "--overwrite", "--segmentation"]
    assert run([*command, folder / "text.pth"]) == 2
    assert content(earlier) == before, "as long as nothing is imported, nothing goes"
    assert run([*command, folder / "Seger.pth"]) == 0
    assert ModelBundle.load(earlier).schema.values == (1, 2, 3)
    assert {path.suffix for path in earlier.iterdir()} == {".json", ".safetensors"}
    capsys.readouterr()
    assert run(["train", "--output", earlier, "--resume"]) == 2
    assert "no training to resume here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "spacing", "window", "named"),
    [
        ((16, 0, 16), SPACING, None, "size"),
        ((10**4, 10**4, 10**4), SPACING, None, "working grid: size"),
        (SIZE, (1.0, -1.0, 1.0), None, "spacing"),
        (SIZE, (1.0, np.nan, 1.0), None, "spacing"),
        (SIZE, SPACING, (300, -100), "window"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(folder: Path, size, spacing, window, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named}"):
        import_release(folder / "Seger.pth", None, size, spacing, window)
