"""What a Python offers to the engine: packages, devices and how fast they train.

``python -m brbs.device_report`` prints it as one JSON object, also where packages are missing or broken; with
``--untimed`` devices are named but not tried, which takes seconds less.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import sys
from typing import Any

from . import __version__

#: What the engine needs; each is installed and imported under this name.
PACKAGES = ("torch", "safetensors", "SimpleITK", "numpy", "tqdm", "matplotlib")


def main() -> None:
    """Prints the report on standard output, and whatever packages say when imported on standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        content = report(timed="--untimed" not in sys.argv[1:])
    print(json.dumps(content))


def report(timed: bool = True) -> dict[str, Any]:
    """The report.

    Args:
        timed: try each device and tell how fast it trains.

    Returns:
        JSON values: "brbs", "python" and "torch" (versions; the last null without it), "executable", "missing" (names
        of packages to be installed), "broken" (packages that are there but fail on import, with the reason) and
        "devices", the best first, the CPU last. A device has "name" (as ``--device`` takes it), "label" (for people),
        "memory" and "free" (bytes, null where unknown) and either what :func:`brbs.step_timing.speed` tells (only if
        timed) or "error" (why it cannot train).
    """
    missing, broken = _look_for(PACKAGES)
    there = "torch" not in missing and "torch" not in broken
    return {
        "brbs": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "torch": importlib.import_module("torch").__version__ if there else None,
        "missing": missing,
        "broken": broken,
        "devices": [_device(name, timed) for name in (_device_names() if there else ["cpu"])],
    }


def _look_for(packages: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Packages that are not there, and those that do not import with the reason."""
    missing: list[str] = []
    broken: dict[str, str] = {}
    for name in packages:
        try:
            module = importlib.import_module(name)
            if name == "torch":
                module.zeros(1).numpy()  # fails where PyTorch is older than NumPy 2 and this is there
        except Exception as error:  # a package may fail with anything, as with a missing system library
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                missing.append(name)
            else:
                broken[name] = _first_line(error)
    return missing, broken


def _device_names() -> list[str]:
    try:
        from .device import available_devices

        return available_devices()
    except Exception:  # another package is missing; the CPU's entry tells
        return ["cpu"]


def _device(name: str, timed: bool) -> dict[str, Any]:
    description = {"name": name, "label": name, "memory": None, "free": None}
    try:
        description |= _hardware(name)
        if timed:
            import torch

            from .step_timing import speed

            description |= speed(torch.device(name))
    except Exception as error:  # drivers fail in many ways, and the other devices are still worth knowing
        description["error"] = _first_line(error)
    return description


def _hardware(name: str) -> dict[str, Any]:
    """Label and memory of a device."""
    if name.startswith("cuda"):
        import torch

        free, memory = torch.cuda.mem_get_info(name)
        return {"label": torch.cuda.get_device_name(name), "memory": memory, "free": free}
    chip = platform.processor() or platform.machine()
    label = f"CPU with {os.cpu_count()} cores ({chip})" if name == "cpu" else f"GPU of this computer ({chip})"
    return {"label": label, "memory": _machine_memory("SC_PHYS_PAGES"), "free": _machine_memory("SC_AVPHYS_PAGES")}


def _machine_memory(pages: str) -> int | None:
    """Bytes of the machine's memory; None where the standard library does not tell."""
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


if __name__ == "__main__":
    main()
