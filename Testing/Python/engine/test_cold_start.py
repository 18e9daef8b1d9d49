"""What a single segmentation does not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import SimpleITK as sitk
from children import environment
from tiny_model import tiny_bundle
from tiny_study import on_grid, subject

NOT_NEEDED = ("matplotlib", "torch._dynamo", "brbs.trainer", "brbs.confidence")
PROGRAM = f"""
import sys
from brbs.__main__ import main
assert main(sys.argv[1:]) == 0
print([name for name in {NOT_NEEDED} if name in sys.modules])
"""


def test_segmentation_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "model")
    sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / "scan.nrrd"))
    files = ["--model", tmp_path / "model", "--input", tmp_path / "scan.nrrd", "--output", tmp_path / "labels.nrrd"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "segment", *map(str, files), "--device", "cpu"],
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (tmp_path / "labels.nrrd").is_file(), done.stderr
    assert done.stdout.strip() == "[]"
