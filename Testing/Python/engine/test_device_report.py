"""The report of packages and devices: complete, and given also where packages are missing or broken."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_study import run

from brbs import __version__, device_report, step_timing
from brbs.device_report import PACKAGES, report

ROOT = Path(__file__).parents[3]
ENGINE = ROOT / "BRBSTraining"
SECONDS = {"volume": 4096, "coarse": 0.03, "warm-up": 0.1, "registration": 0.05, "together": 0.3}
SPEED = {"seconds_per_step": SECONDS, "seconds_per_structure": {"together": 0.01}}


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graphics card and the CPU, of known speed."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Fast Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(step_timing, "speed", lambda _: SPEED)


def child_report(folder: Path, hidden: tuple[str, ...], broken: dict[str, str]) -> dict:
    """The report of a child process for which packages are hidden, or fail with the given line on import."""
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        failure = f"raise OSError({broken[name]!r})" if name in broken else "print('a word of greeting')"
        (folder / name / "__init__.py").write_text(f"__version__ = '1.2.3'\n{failure}\n", encoding="utf-8")
    program = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({hidden!r})); "
        "runpy.run_module('brbs.device_report', run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ENGINE)])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_packages_are_those_that_the_installation_brings() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)[1]
    assert sorted(PACKAGES) == sorted(re.findall(r'"(\w+)', dependencies))


def test_report_of_a_complete_python(two_devices) -> None:
    found = report()
    card, cpu = found.pop("devices")
    assert found == {
        "brbs": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "torch": torch.__version__,
        "missing": [],
        "broken": {},
    }
    assert card == {
        "name": "cuda:0",
        "label": "Fast Card",
        "memory": 8 * 2**30,
        "free": 3 * 2**30,
        **SPEED,
    }
    assert cpu["name"] == "cpu" and cpu["label"].startswith("CPU") and cpu["seconds_per_step"] == SECONDS
    assert cpu["memory"] is None or cpu["memory"] >= cpu["free"] > 2**24


def test_a_device_that_fails_is_told_and_the_others_are_timed(two_devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> dict:
        if device.type == "cuda":
            raise RuntimeError("CUDA out of memory.\nTried to allocate much")
        return SPEED

    monkeypatch.setattr(step_timing, "speed", fail)
    card, cpu = report()["devices"]
    assert card["error"] == "CUDA out of memory." and "seconds_per_step" not in card and "error" not in cpu


def test_a_driver_that_fails_leaves_the_name(two_devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    card = report()["devices"][0]
    assert card == {"name": "cuda:0", "label": "cuda:0", "memory": None, "free": None, "error": "no driver"}


def test_a_python_without_packages_says_which(tmp_path: Path) -> None:
    found = child_report(tmp_path, PACKAGES, {})
    assert found["missing"] == list(PACKAGES) and found["broken"] == {} and found["torch"] is None
    (cpu,) = found["devices"]
    assert cpu["name"] == "cpu" and "torch" in cpu["error"] and "seconds_per_step" not in cpu


def test_packages_that_fail_on_import_are_broken_not_missing(tmp_path: Path) -> None:
    reasons = {"torch": "DLL load failed: fbgemm.dll", "SimpleITK": "libstdc++ is too old"}
    found = child_report(tmp_path / "mit Ü", ("tqdm",), reasons)
    assert found["broken"] == reasons and found["missing"] == ["tqdm"] and found["torch"] is None
    assert found["devices"][0]["error"] == reasons["torch"]


def test_pytorch_that_cannot_speak_to_numpy_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was built before NumPy 2, which a newer Slicer brings."""

    def fail(self: torch.Tensor) -> None:
        raise RuntimeError("Numpy is not available")

    monkeypatch.setattr(torch.Tensor, "numpy", fail)
    found = report(timed=False)
    assert found["broken"] == {"torch": "Numpy is not available"} and found["torch"] is None


def test_what_a_package_needs_itself_is_no_package_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import a_package_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    missing, broken = device_report._look_for(("needy", "also_nowhere"))
    assert missing == ["also_nowhere"] and broken == {"needy": "No module named 'a_package_that_nobody_has'"}


def test_command_prints_one_object(two_devices, capsys: pytest.CaptureFixture) -> None:
    assert run(["devices"]) == 0
    assert [device["name"] for device in json.loads(capsys.readouterr().out)["devices"]] == ["cuda:0", "cpu"]


def test_steps_of_every_phase_are_timed() -> None:
    found = step_timing.step_seconds(torch.device("cpu"), edge=16)
    assert set(found) == {"seconds_per_step"}  # nothing is launched
    found = found["seconds_per_step"]
    assert found.pop("volume") == 4096
    assert set(found) == {"coarse", "warm-up", "registration", "together"}
    assert all(0 < value < 60 for value in found.values())
    assert found["registration"] < found["together"]


def test_each_further_structure_takes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(device: torch.device, edge: int | None = None, classes: int = 2) -> dict:
        return {"volume": (edge or 16) ** 3, **{name: 2.0 + 0.1 * classes for name in step_timing.PROGRESS}}

    monkeypatch.setattr(step_timing, "seconds_per_step", measured)
    found = step_timing.speed(torch.device("cpu"))
    assert found["seconds_per_step"] == measured(torch.device("cpu"))
    assert found["seconds_per_structure"] == pytest.approx(dict.fromkeys(step_timing.PROGRESS, 0.1))


GIB = 2**30


@pytest.mark.parametrize(
    ("name", "memory", "seconds_per_million", "edges"),
    [
        ("cpu", 64 * GIB, 10.0, [32]),
        ("cuda", 80 * GIB, 1.0, [64]),  # slow: its time grows with the voxels from the first on
        ("cuda", 80 * GIB, 0.1, [64, 96]),
        ("cuda", 80 * GIB, 0.01, [64, 96, 128]),
        ("cuda", 6 * GIB, 0.01, [64]),  # no room for more
        ("cuda", GIB, 0.01, [32]),
    ],
)
def test_volumes_suit_the_device(name, memory, seconds_per_million, edges, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def together(device: torch.device, edge: int, classes: int) -> dict:
        timed.append(edge)
        return {"volume": edge**3, "together": 0.03 + seconds_per_million * edge**3 / 1e6}

    monkeypatch.setattr(step_timing, "_timed", together)
    monkeypatch.setattr(step_timing, "free_memory", lambda _: memory)
    assert step_timing.seconds_per_step(torch.device(name))["volume"] == edges[-1] ** 3
    assert timed == edges


def test_a_gpu_is_timed_on_hardly_any_voxels_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(device: torch.device, edge: int, classes: int) -> dict:
        return {"volume": edge**3, **dict.fromkeys(step_timing.PROGRESS, 0.03 + 1e-7 * edge**3)}

    monkeypatch.setattr(step_timing, "_timed", made)
    found = step_timing.step_seconds(torch.device("cuda"), edge=96)
    assert found["seconds_per_step"]["volume"] == 96**3
    assert found["launch_seconds"] == pytest.approx(dict.fromkeys(step_timing.PROGRESS, 0.03 + 1e-7 * 32**3))
