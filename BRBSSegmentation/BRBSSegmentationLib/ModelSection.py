"""The panel's list of models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
from slicer.i18n import tr as _

from brbs.model_preview import PREVIEW_FILE
from BRBSTrainingLib.FileToSave import fileToSave
from BRBSTrainingLib.KnownModels import KnownModel
from BRBSTrainingLib.Section import onClick

PICTURE_SIZE = 96  # pixels


class ModelSection:
    """Lets the user choose a model, and add, import, export or remove one.

    Args:
        ui: the panel's widgets.
        logic: the module's logic.
        guard: runs a function and shows what is wrong with its input.
        say: tells the user something.
        chosen: called when another model is chosen.
    """

    def __init__(self, ui, logic, guard, say: Callable[[str], None], chosen: Callable[[], None]) -> None:
        self._ui, self._logic, self._say, self._chosen = ui, logic, say, chosen
        self._models: list[KnownModel] = []
        self._tip = ui.modelSelector.toolTip
        ui.modelSelector.connect("currentIndexChanged(int)", lambda index: self._changed())
        actions = {
            ui.addModelButton: self._add,
            ui.importModelButton: self._import,
            ui.exportModelButton: self._export,
            ui.removeModelButton: self._remove,
        }
        onClick(actions, guard)

    @property
    def model(self) -> KnownModel | None:
        """The chosen model."""
        index = self._ui.modelSelector.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    def choose(self, folder: str | Path) -> None:
        """Chooses the model of a folder, if it is on the list."""
        folders = [model.folder for model in self._models]
        if folder and Path(folder) in folders:
            self._ui.modelSelector.setCurrentIndex(folders.index(Path(folder)))

    def use(self, folder: str | Path) -> None:
        """Chooses the model of a folder, whether it is on the list or not.

        Raises:
            InputError: no model there, damaged, or of a newer version.
        """
        model = self._logic.addModel(folder)
        self.update()
        self.choose(model.folder)

    def update(self) -> None:
        """Reads the list anew; the chosen model stays, as long as it is there."""
        before = self.model
        self._models = self._logic.models()
        self._ui.modelSelector.blockSignals(True)
        self._ui.modelSelector.clear()
        self._ui.modelSelector.addItems([model.name for model in self._models])
        for index, model in enumerate(self._models):  # several may have one name
            self._ui.modelSelector.setItemData(index, str(model.folder), qt.Qt.ToolTipRole)
        if before is not None:
            self.choose(before.folder)
        self._ui.modelSelector.blockSignals(False)
        self._changed()

    def _changed(self) -> None:
        model = self.model
        self._ui.exportModelButton.enabled = self._ui.removeModelButton.enabled = model is not None
        self._ui.modelLabel.text = (
            details(model) if model else _("No model yet. Train one with BRBS Training, or add one.")
        )
        folder = str(model.folder) if model else ""
        self._ui.modelLabel.toolTip = folder
        self._ui.modelSelector.toolTip = "\n".join(filter(None, [self._tip, folder]))
        picture = qt.QPixmap(str(model.folder / PREVIEW_FILE)) if model else qt.QPixmap()
        self._ui.modelPicture.visible = not picture.isNull()
        if not picture.isNull():
            self._ui.modelPicture.setPixmap(
                picture.scaled(PICTURE_SIZE, PICTURE_SIZE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
            )
        self._chosen()

    def _add(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.modelSelector, _("Folder of a model"))
        if folder:
            self._take(folder)

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self._ui.modelSelector, _("Exported model"), "", "(*.zip)")
        if path:
            self._take(self._logic.importModel(path).folder)

    def _take(self, folder: str | Path) -> None:
        self.use(folder)
        self._say(_("Added the model {name}.").format(name=self.model.name))

    def _export(self) -> None:
        name = f"{self.model.name}.zip"
        title = _("Export the model, with the images of its atlases, without names")
        path = fileToSave(self._ui.modelSelector, title, name, "(*.zip)")
        if path is not None:
            self._logic.exportModel(self.model, path)
            self._say(_("Exported to {path}.").format(path=path))

    def _remove(self) -> None:
        name = self.model.name
        self._logic.removeModel(self.model)
        self.update()
        self._say(_("Took {name} off the list; its files stay.").format(name=name))


def details(model: KnownModel) -> str:
    """What a model segments and where it comes from, in a few lines."""
    provenance = model.provenance
    dice = provenance.get("dice")
    mean = dice.get("mean") if isinstance(dice, dict) else None
    atlases = provenance.get("atlas_count", len(provenance.get("atlases", [])))
    lines = [", ".join(model.structures), _("{count} atlases").format(count=atlases)]
    if isinstance(mean, float | int):
        seen = provenance.get("validation", "")
        lines.append(_("Validation Dice {dice} ({seen})").format(dice=f"{mean:.3f}", seen=seen))
    return "\n".join([*lines, str(provenance.get("date", ""))]).strip()
