"""The panel's table of unlabeled scans."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError

from .Annotation import Annotation
from .AtlasSection import MARKS, statusText
from .FileDrop import FILTER, FileDrop
from .RowTable import BAD, BUSY, Row, RowTable
from .Section import Guard, Section, onClick
from .StudySession import StudySession


class ScanSection(Section):
    """Shows the unlabeled scans with what is known of them, adds, removes and annotates some."""

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._table = RowTable(ui.scanTable, [_("Scan"), _("Status"), _("Voxels"), _("Spacing (mm)")])
        self._drop = FileDrop(ui.scanTable, lambda paths: guard(lambda: self._addFiles(paths)))
        actions = {
            ui.addScanButton: lambda: session.addVolumes([ui.scanVolumeSelector.currentNode()]),
            ui.addAllScansButton: self._addAll,
            ui.addScanFilesButton: self._chooseFiles,
            ui.addScanFolderButton: self._chooseFolder,
            ui.removeScanButton: self._remove,
            ui.annotateButton: lambda: session.annotate(self._table.selected()[0]),
            ui.finishAnnotationButton: self._finishAnnotation,
        }
        onClick(actions, guard)
        ui.scanTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.scanVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.updateButtons())

    def update(self) -> None:
        """Shows the study as it is now."""
        study = self._session.study
        self._table.show([self._row(path) for path in study.study.unlabeled] if study else [])
        self._ui.scanSummaryLabel.text = self._summary() if study else _("No scans yet.")
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enables what can be done now."""
        isOpen, selected = self._session.study is not None, self._table.selected()
        self._ui.addScanButton.enabled = isOpen and self._ui.scanVolumeSelector.currentNode() is not None
        for button in (self._ui.addAllScansButton, self._ui.addScanFilesButton, self._ui.addScanFolderButton):
            button.enabled = isOpen
        self._ui.removeScanButton.enabled = isOpen and bool(selected)
        self._ui.annotateButton.enabled = isOpen and len(selected) == 1
        blocker = self._annotationBlocker()
        self._ui.finishAnnotationButton.enabled = blocker is None
        self._ui.finishAnnotationButton.toolTip = blocker or _("Make the annotation an atlas of the study.")

    def _annotated(self) -> list[Path]:
        """The selected scans that are being annotated; all such scans where none is selected."""
        annotated = [scan for scan in self._session.study.study.unlabeled if scan in self._session.annotations]
        selected = self._table.selected()
        return [scan for scan in annotated if scan in selected] if selected else annotated

    def _annotationBlocker(self) -> str | None:
        """Why no annotation can be made an atlas, for people; None: it can."""
        chosen = self._annotated() if self._session.study is not None else []
        if len(chosen) != 1:
            return _("Select a scan that is being annotated.")
        if not self._session.annotations[chosen[0]].drawn:
            return _("Nothing is drawn yet; go on with Annotate.")
        return None

    def _finishAnnotation(self) -> None:
        with slicer.util.WaitCursor():
            self._session.finishAnnotation(self._annotated()[0])

    def _row(self, path: Path) -> Row:
        annotation = self._session.annotations.get(path)
        return self._fileRow(path) if annotation is None else self._annotationRow(annotation)

    def _annotationRow(self, annotation: Annotation) -> Row:
        row, schema = self._fileRow(annotation.scan), self._session.study.study.schema
        drawn = len(annotation.drawn)
        text = _("annotating {drawn} / {all}").format(drawn=drawn, all=drawn + len(annotation.missing(schema)))
        toolTip = "\n".join([annotation.text(schema), _("It is not an atlas yet."), row.toolTip])
        return Row(row.key, (row.cells[0], text, *row.cells[2:]), BUSY, toolTip)

    def _fileRow(self, path: Path) -> Row:
        item = self._session.item(path)
        if item is None:
            text = _("checking…") if self._session.checking else _("not checked")
            return Row(path, (path.name, text, "", ""), BUSY, str(path))
        size, spacing = _times(item.size, "d"), _times(item.spacing, ".3g")
        toolTip = "\n".join(filter(None, [item.message, str(path)]))
        return Row(path, (path.name, statusText(item.status), size, spacing), MARKS.get(item.status, BAD), toolTip)

    def _summary(self) -> str:
        paths = self._session.study.study.unlabeled
        if not paths:
            return _("No scans yet; 20 to 200 of the same kind are good.")
        items = [item for item in map(self._session.item, paths) if item is not None and item.size]
        flagged = sum(item.status != "ready" for item in map(self._session.item, paths) if item is not None)
        parts = [_("{count} scans").format(count=len(paths))]
        if items:
            parts.append(_("{sizes} voxels").format(sizes=_ranges([item.size for item in items], "d")))
            parts.append(_("{spacings} mm").format(spacings=_ranges([item.spacing for item in items], ".3g")))
        if flagged:
            parts.append(_("{count} flagged").format(count=flagged))
        return ", ".join(parts) + "."

    def _addAll(self) -> None:
        volumes = self._session.newVolumes()
        if not volumes:
            raise InputError(_("The scene holds no volume that is not in the study yet."))
        self._session.addVolumes(volumes)

    def _chooseFiles(self) -> None:
        title = _("Scans without annotation")
        self._addFiles(qt.QFileDialog.getOpenFileNames(self._ui.scanTable, title, "", f"{_('Images')} {FILTER}"))

    def _chooseFolder(self) -> None:
        self._addFiles([qt.QFileDialog.getExistingDirectory(self._ui.scanTable, _("Folder of scans"))])

    def _addFiles(self, paths: list) -> None:
        if self._session.study is None:
            raise InputError(_("Create or open a study first."))
        chosen = [Path(path) for path in paths if path]  # none where the dialogue was cancelled
        if chosen:
            self._session.addFiles(chosen)

    def _remove(self) -> None:
        chosen = self._table.selected()
        self._session.changeStudy(lambda study: study.removeUnlabeled(chosen))
        self._session.say(_("Took {count} scans out of the study; the files stay.").format(count=len(chosen)))


def _times(values, style: str) -> str:
    return " × ".join(format(value, style) for value in values or ())


def _ranges(triples, style: str) -> str:
    """Smallest to largest along each axis: ``35–47 × 40–59 × 31``."""

    def span(values) -> str:
        ends = list(dict.fromkeys(format(value, style) for value in (min(values), max(values))))
        return "–".join(ends)

    return " × ".join(map(span, zip(*triples)))
