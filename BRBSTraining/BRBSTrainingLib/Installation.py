"""Installing what the engine needs into Slicer's Python, when the user says yes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
DECLINED = "User declined"  # how Slicer's pip_ensure tells of a no, by an error that has no class of its own
ANOTHER_PYTHON = _("Or install PyTorch in another Python and choose it as engine Python under Advanced.")


def install(missing: list[str]) -> None:
    """Installs the missing packages; asks before each download.

    PyTorch comes by way of the PyTorch extension, which picks the build for the computer's GPU. Whether the engine can
    use what was installed, its own report tells afterwards.

    Args:
        missing: names of the packages, as the engine reports them.

    Raises:
        InputError: it did not work, or the user said no; says what to do.
    """
    try:
        if "torch" in missing:
            _installTorch()
        if set(missing) - {"torch"}:
            _installRequirements()
    except InputError:
        raise
    except Exception as error:  # pip's failures are of many kinds; the reason is in the text
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        remedy = _("Check the network connection and the free disk space and try again.")
        failed = _("Installation failed: {reason}.").format(reason=reason)
        raise InputError(f"{failed} {remedy} {ANOTHER_PYTHON}") from error


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        remedy = _(
            "PyTorch is installed by Slicer's extension PyTorch, which is not there. Install it in the Extensions "
            "Manager, restart Slicer and press Install again."
        )
        raise InputError(f"{remedy} {ANOTHER_PYTHON}") from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True)
    except Exception:
        if not _isInstalled("torch"):
            raise
        return  # the extension at last imports it into Slicer, which the engine does not need
    if torch is None:
        refused = _("PyTorch was not installed; press Install to try again, the Python console tells what went wrong.")
        raise InputError(f"{refused} {ANOTHER_PYTHON}")


def _isInstalled(package: str) -> bool:
    importlib.invalidate_caches()  # pip has run in a process of its own
    return importlib.util.find_spec(package) is not None


def _installRequirements() -> None:
    """Slicer from 5.12 on has its own way, which asks and leaves alone what is there; before, pip does."""
    try:
        from slicer.packaging import load_requirements, pip_ensure
    except ImportError:
        question = _("Download and install these Python packages into Slicer?")
        names = REQUIREMENTS.read_text(encoding="utf-8")
        if not slicer.util.confirmOkCancelDisplay(f"{question}\n{names}", "BRBS"):
            raise _refusal() from None
        slicer.util.pip_install(["-r", str(REQUIREMENTS)])
        return
    try:
        pip_ensure(load_requirements(str(REQUIREMENTS)), requester="BRBS")
    except RuntimeError as error:
        if DECLINED in str(error):
            raise _refusal() from None
        raise


def _refusal() -> InputError:
    return InputError(_("Nothing was installed; press Install to try again."))
