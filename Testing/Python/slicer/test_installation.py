"""Installing the engine's packages in Slicers with and without ``slicer.packaging``, and what is said when it fails."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import slicer

from brbs.errors import InputError

PACKAGES = ["matplotlib>=3.10", "safetensors>=0.4", "tqdm>=4.60"]


@pytest.fixture
def install(application):
    from BRBSTrainingLib.Installation import install

    return install


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list:
    """What ``slicer.util.pip_install`` was called with."""
    called = []
    monkeypatch.setattr(slicer.util, "pip_install", called.append, raising=False)
    return called


@pytest.fixture
def oldSlicer(application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer 5.10, which has no ``slicer.packaging``."""
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.delattr(slicer, "packaging")


def putTorchExtension(monkeypatch: pytest.MonkeyPatch, result: object) -> list:
    """Slicer's PyTorch extension, whose installation ends with a result; returns what it was asked."""
    asked = []

    def installTorch(**options) -> object:
        asked.append(options)
        return result

    extension = ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = lambda: SimpleNamespace(installTorch=installTorch)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    return asked


def test_new_slicer_installs_what_is_missing_and_asks_by_itself(install, pip, monkeypatch) -> None:
    called = []
    monkeypatch.setattr(slicer.packaging, "pip_ensure", lambda names, **options: called.append((names, options)))
    install(["tqdm"])
    assert called == [(PACKAGES, {"requester": "BRBS"})] and pip == []
    assert slicer.app.recorded.messages == []


def test_old_slicer_asks_and_installs_by_pip(install, pip, oldSlicer) -> None:
    install(["tqdm"])
    (call,) = pip
    assert call[0] == "-r" and open(call[1], encoding="utf-8").read().split() == PACKAGES
    ((kind, text),) = slicer.app.recorded.messages
    assert kind == "ask" and all(name in text for name in PACKAGES)


def test_old_slicer_installs_nothing_without_consent(install, pip, oldSlicer) -> None:
    slicer.app.recorded.answer = False
    with pytest.raises(InputError, match="Nothing was installed"):
        install(["tqdm"])
    assert pip == []


def test_new_slicer_installs_nothing_without_consent(install, pip, monkeypatch) -> None:
    def decline(*_, **__) -> None:
        raise RuntimeError("User declined package installation")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", decline)
    with pytest.raises(InputError, match="^Nothing was installed; press Install to try again.$"):
        install(["tqdm"])


@pytest.mark.parametrize("old", [False, True])
def test_reason_of_a_failure_is_told_with_what_to_do(install, pip, monkeypatch, request, old: bool) -> None:
    def fail(*_, **__) -> None:
        raise RuntimeError("pip has much to say\nNo space left on device\n")

    if old:
        request.getfixturevalue("oldSlicer")
        monkeypatch.setattr(slicer.util, "pip_install", fail)
    else:
        monkeypatch.setattr(slicer.packaging, "pip_ensure", fail)
    with pytest.raises(InputError, match="No space left on device.*network connection.*engine Python"):
        install(["tqdm"])


def test_torch_comes_by_its_extension_which_asks(install, pip, monkeypatch) -> None:
    asked = putTorchExtension(monkeypatch, result=object())
    install(["torch"])
    assert asked == [{"askConfirmation": True}]
    assert pip == [] and slicer.app.recorded.installed == []


@pytest.mark.parametrize("isThere", [True, False])
def test_torch_that_slicer_cannot_import_is_left_to_the_report_of_the_engine(install, monkeypatch, isThere) -> None:
    def installTorch(**options) -> object:
        raise ImportError("DLL load failed while importing _C")

    putTorchExtension(monkeypatch, result=None)
    sys.modules["PyTorchUtils"].PyTorchUtilsLogic = lambda: SimpleNamespace(installTorch=installTorch)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if isThere else None)
    if isThere:
        install(["torch", "tqdm"])
        assert slicer.app.recorded.installed == PACKAGES
    else:
        with pytest.raises(InputError, match="DLL load failed.*network connection"):
            install(["torch", "tqdm"])


def test_torch_without_its_extension_or_consent_is_told(install, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(InputError, match="extension PyTorch.*Extensions Manager.*engine Python"):
        install(["torch", "tqdm"])
    putTorchExtension(monkeypatch, result=None)
    with pytest.raises(InputError, match="PyTorch was not installed"):
        install(["torch", "tqdm"])
    assert slicer.app.recorded.installed == []
