"""What has to work in a fresh Slicer's Python, which has NumPy and SimpleITK but nothing else of the engine's needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_study import SETTINGS, write_study

import brbs
from brbs.checks import check_study
from brbs.study import Study

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors", "tqdm", "matplotlib"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, sys.argv.pop(1))
"""
MAIN = WITHOUT + "from brbs.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"


def bare(code: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, str(Path(brbs.__file__).parents[1]), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    files = write_study(tmp_path / "Köpfe")
    Study.from_folders(files / "images", files / "labels", files / "unlabeled", SETTINGS).save(files)
    return files


def test_study_is_checked(study: Path) -> None:
    ended = bare(MAIN, "check", "--study", study)
    assert ended.returncode == 0, ended.stderr
    assert "5 of 5 can be used" in ended.stderr
    assert [item.status for item in check_study(study)] == ["ready"] * 5


def test_training_says_what_is_missing(study: Path, tmp_path: Path) -> None:
    ended = bare(MAIN, "train", "--study", study, "--output", tmp_path / "Modell", "--steps", 1)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == (
        "brbs: torch is not installed in this Python; install what `python -m brbs.device_report` lists as missing"
    )
    assert not (tmp_path / "Modell").exists()


def test_what_the_modules_import_needs_none_of_it() -> None:
    names = "study job checks pairing settings locking expected_time model_description worker_client bundle_file"
    names += " model_preview tensor_file"
    ended = bare(WITHOUT + "\n".join(f"import brbs.{name}" for name in names.split()))
    assert ended.returncode == 0, ended.stderr
