"""The panel's table of atlases."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.pairing import find_pairs, pair_files

from .FileDrop import FILTER, FileDrop
from .RowTable import BAD, BUSY, GOOD, ODD, Row, RowTable
from .Section import Guard, Section, onClick
from .StudySession import StudySession

MARKS = {"ready": GOOD, "structure": ODD, "odd": ODD}


class AtlasSection(Section):
    """Shows the atlases with what is known of them, and adds and removes some."""

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._table = RowTable(ui.atlasTable, [_("Scan"), _("Status"), _("Structures"), _("Segmentation")])
        self._drop = FileDrop(ui.atlasTable, lambda paths: guard(lambda: self._addPaths(paths)))
        actions = {
            ui.addAtlasButton: self._addFromScene,
            ui.addAtlasFilesButton: self._chooseFiles,
            ui.addAtlasFolderButton: self._chooseFolder,
            ui.removeAtlasButton: self._remove,
        }
        onClick(actions, guard)
        ui.atlasTable.connect("itemSelectionChanged()", self.updateButtons)
        for selector in (ui.atlasVolumeSelector, ui.atlasSegmentationSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.updateButtons())

    def update(self) -> None:
        """Shows the study as it is now."""
        study = self._session.study
        self._table.show([self._row(atlas) for atlas in study.study.atlases] if study else [])
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enables what can be done now."""
        isOpen = self._session.study is not None
        chosen = self._ui.atlasVolumeSelector.currentNode() and self._ui.atlasSegmentationSelector.currentNode()
        self._ui.addAtlasButton.enabled = isOpen and bool(chosen)
        self._ui.addAtlasFilesButton.enabled = self._ui.addAtlasFolderButton.enabled = isOpen
        self._ui.removeAtlasButton.enabled = isOpen and bool(self._table.selected())

    def _row(self, atlas) -> Row:
        item = self._session.item(atlas.image, atlas.labels)
        image, labels = atlas.image.name, atlas.labels.name
        if item is None:
            text = _("checking…") if self._session.checking else _("not checked")
            return Row(atlas.image, (image, text, "", labels), BUSY, str(atlas.image))
        structures = self._structureNames(item)
        count = f"{len(structures)} / {len(self._session.study.study.schema.labels)}"
        details = [item.message, _("Structures: {names}").format(names=", ".join(structures)), str(atlas.image)]
        cells = (image, statusText(item.status), count, labels)
        return Row(atlas.image, cells, MARKS.get(item.status, BAD), "\n".join(filter(None, details)))

    def _structureNames(self, item) -> list[str]:
        """Names of the structures found, as the study calls them."""
        names = {label.value: label.name for label in self._session.study.study.schema.labels}
        return [names.get(label.value, label.name) for label in item.structures]

    def _addFromScene(self) -> None:
        with slicer.util.WaitCursor():
            self._session.addAtlas(
                self._ui.atlasVolumeSelector.currentNode(), self._ui.atlasSegmentationSelector.currentNode()
            )

    def _chooseFolder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.atlasTable, _("Folder of scans and label maps"))
        if folder:
            self._addPaths([Path(folder)])

    def _chooseFiles(self) -> None:
        title = _("Scans and their label maps")
        paths = qt.QFileDialog.getOpenFileNames(self._ui.atlasTable, title, "", f"{_('Images')} {FILTER}")
        if paths:
            self._addPaths([Path(path) for path in paths])

    def _addPaths(self, paths: list[Path]) -> None:
        """Adds folders one by one, and single files together."""
        if self._session.study is None:
            raise InputError(_("Create or open a study first."))
        for folder in filter(Path.is_dir, paths):
            self._session.addAtlases(find_pairs(folder), str(folder))
        files = [path for path in paths if not path.is_dir()]
        if files:
            self._session.addAtlases(pair_files(files), _("the chosen files"))

    def _remove(self) -> None:
        chosen = self._table.selected()
        self._session.changeStudy(lambda study: study.removeAtlases(chosen))
        self._session.say(_("Took {count} atlases out of the study; the files stay.").format(count=len(chosen)))


def statusText(status: str) -> str:
    """A checked item's status in few words."""
    return {
        "ready": _("ready"),
        "structure": _("structure missing"),
        "odd": _("differs"),
        "missing": _("file gone"),
        "geometry": _("geometry differs"),
    }.get(status, _("unusable"))
