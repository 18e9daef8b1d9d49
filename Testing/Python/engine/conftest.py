"""The tiny study as files, and a model trained on it, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_study import run, train_arguments, write_study

from brbs import device as device_module


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good study; nobody writes there."""
    return write_study(tmp_path_factory.mktemp("Köpfe und mehr") / "study")


@pytest.fixture(scope="session")
def model(study: Path) -> Path:
    """A model trained for a few steps; nobody writes there."""
    output = study.parent / "Modell"
    assert run(train_arguments(study, output)) == 0
    return output


@pytest.fixture
def own_study(study: Path, tmp_path: Path) -> Path:
    """A copy of the study to be spoilt."""
    return shutil.copytree(study, tmp_path / "own study")


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks compute in float32: in 16 bit, a volume alone comes out a little other than in a batch."""
    monkeypatch.setattr(device_module, "reduced_precision", lambda device: None)


@pytest.fixture
def one_thread():
    """PyTorch sums as a process does that the launcher has given a single thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
