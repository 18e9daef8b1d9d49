"""The list of devices on which the engine can compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slicer.i18n import tr as _

from .AllDevices import ALL_GPUS, gpusTogether

AUTO = "auto"


class DeviceSelector:
    """Shows the engine's devices and keeps the parameter node's choice among them.

    The form does not connect the two, as the list is that of the computer.

    Args:
        selector: a ``QComboBox``.
        chosen: called when the user has chosen.
        together: also offer all GPUs at once, where there are several.
    """

    def __init__(self, selector, chosen: Callable[[], None] = lambda: None, together: bool = False) -> None:
        self._selector, self._chosen, self._together = selector, chosen, together
        self._parameters = None
        self._names: list[str] = []
        self.show([])
        selector.connect("currentIndexChanged(int)", lambda index: self._choose(index))

    @property
    def device(self) -> str:
        """Name of the chosen device; "auto" where the scene names one that this computer lacks."""
        chosen = self._parameters.device if self._parameters is not None else AUTO
        return chosen if chosen in self._names else AUTO

    def setParameters(self, parameters) -> None:
        """Follows another parameter node's ``device``; None: none."""
        self._parameters = parameters
        self._showChosen()

    def show(self, devices: Sequence[dict]) -> None:
        """Lists devices as :mod:`brbs.device_report` tells of them; those that do not work are left out."""
        working = [device for device in devices if not device.get("error")]
        count = gpusTogether(devices) if self._together else 0
        together = [_("all {count} GPUs").format(count=count)] if count else []
        names = [AUTO, *(device["name"] for device in working), *([ALL_GPUS] if together else [])]
        if names != self._names:
            self._names = names
            self._selector.blockSignals(True)
            self._selector.clear()
            self._selector.addItems([_("automatic"), *map(deviceText, working), *together])
            self._selector.blockSignals(False)
        self._showChosen()

    def _showChosen(self) -> None:
        self._selector.blockSignals(True)
        self._selector.setCurrentIndex(self._names.index(self.device))
        self._selector.blockSignals(False)

    def _choose(self, index: int) -> None:
        if self._parameters is not None and index >= 0:
            self._parameters.device = self._names[index]
            self._chosen()


def deviceText(device: dict) -> str:
    """A device with its memory, and why it cannot be used, if so."""
    memory = f", {device['memory'] / 2**30:.0f} GiB" if device.get("memory") else ""
    failed = f": {device['error']}" if device.get("error") else ""
    return f"{device['name']}: {device['label']}{memory}{failed}"
