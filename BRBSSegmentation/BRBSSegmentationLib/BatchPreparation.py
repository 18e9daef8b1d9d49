"""From volumes, files and folders to a batch that runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.files import replacing
from brbs.image_files import bare_name
from brbs.job import EVENTS_FILE, queue_job
from brbs.scan_files import ALL, folder_scans, is_folder_of_scans, label_map_files
from BRBSTrainingLib.BackgroundJob import LOG_FILE
from BRBSTrainingLib.Engine import NAMELESS, Engine
from BRBSTrainingLib.FileName import fileName
from BRBSTrainingLib.SceneNode import SceneNode
from BRBSTrainingLib.VolumeExport import checkVolume, exportVolume, volumeFile

from .FormerResults import FormerResults
from .SegmentationBatch import BATCH_FOLDER, EXPORTS, LIST_FILE, TABLE_FILE, SegmentationBatch


class BatchPreparation:
    """Brings the volumes among the scans onto disk, one at a :meth:`step`, and then starts the batch.

    Volumes that are still as they were read from a file are taken from there. Nothing in the scene is changed.

    Args:
        engine: runs the batch.
        inputs: volume nodes, files, DICOM folders and folders of scans.
        model: folder of the model.
        output: folder of the results; made where needed.
        device: where to compute.
        suffix: of the label maps, such as ".seg.nrrd".
        components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.
        pattern: names of the scans that are taken of a folder, such as ``*_T1.nii.gz``.

    Attributes:
        files: the file of each volume node, as far as it is known.
        batch: the batch, once it has been started.

    Raises:
        InputError: a volume or path cannot be used, two scans of one name, a batch is running in that folder, or a
            label map would be written over a file that no batch has made.
    """

    def __init__(
        self,
        engine: Engine,
        inputs: Sequence,
        model: Path,
        output: Path,
        device: str,
        suffix: str,
        components: str,
        pattern: str = ALL,
    ) -> None:
        self._engine, self._model, self._output, self._suffix = engine, model, Path(output).absolute(), suffix
        self._components = components
        self._options = ["--device", device, "--format", suffix, "--components", components]
        self.batch: SegmentationBatch | None = None
        self.files: dict[SceneNode, Path] = {}
        self._waiting: list[tuple[SceneNode, Path]] = []
        self._scans: list[Path] = []
        before = SegmentationBatch(self._output)
        if before.readable and before.active:
            raise InputError(_("{folder}: a batch is running there; wait for it, or stop it").format(folder=output))
        for entry in inputs:
            self._take(entry, pattern)
        if not self._scans:
            raise InputError(_("There are no scans to be segmented; add some."))
        self._former = FormerResults(self._output)
        self._former.checkForeign(self._pairs())

    @property
    def folder(self) -> Path:
        """The batch's own folder."""
        return self._output / BATCH_FOLDER

    @property
    def remaining(self) -> int:
        """How many volumes have to be exported yet."""
        return len(self._waiting)

    def step(self) -> bool:
        """Exports a volume, or starts the batch when all are on disk; true when that is done.

        Raises:
            InputError: a volume cannot be exported, a label map would be written over a corrected one, or the engine
                cannot be started.
        """
        if self._waiting:
            remembered, path = self._waiting.pop(0)
            node = remembered.node
            if node is None:  # deleted meanwhile
                self._scans.remove(path)
            else:
                exportVolume(node, path)
            return False
        self._start()
        return True

    def cancel(self) -> None:
        """Leaves it; what was exported is removed."""
        shutil.rmtree(self.folder / EXPORTS, ignore_errors=True)

    def _take(self, entry, pattern: str) -> None:
        if isinstance(entry, str | Path):
            path = Path(entry).absolute()
            if "\n" in str(path):
                raise InputError(_("{path}: has a line break in its name; rename it").format(path=repr(str(path))))
            found = folder_scans(path, pattern) if is_folder_of_scans(path) else [path]
            self._scans += [scan for scan in found if scan not in self._scans]
            return
        checkVolume(entry)
        onDisk = volumeFile(entry)
        path = onDisk or self._exportFile(entry.GetName())
        self.files[SceneNode(entry)] = path
        if onDisk is None:
            self._waiting.append((SceneNode(entry), path))
        if path not in self._scans:
            self._scans.append(path)

    def _pairs(self) -> list[tuple[Path, Path]]:
        """Scans and the files of their label maps; refuses what would be written over each other."""
        return label_map_files(self._scans, self._output, self._suffix)

    def _exportFile(self, name: str) -> Path:
        """A name of its own for each volume, the same whenever the same volumes are given."""
        taken = {bare_name(path).lower() for path in self._scans}
        plain = fileName(name)
        names = [plain, *(f"{plain}_{number}" for number in range(2, len(taken) + 3))]
        return self.folder / EXPORTS / f"{next(name for name in names if name.lower() not in taken)}.nrrd"

    def _start(self) -> None:
        if not self._scans:
            raise InputError(_("All volumes were deleted meanwhile; nothing is left to be segmented."))
        pairs = self._pairs()  # without volumes that were deleted meanwhile, others may have other names
        self._former.checkForeign(pairs)
        self._former.checkCorrected(pairs, self._model, self._components)
        self._former.remember()
        with replacing(self.folder / LIST_FILE) as aside:
            aside.write_text("".join(f"{scan}\n" for scan in self._scans), encoding="utf-8")
        for old in (EVENTS_FILE, LOG_FILE):
            (self.folder / old).unlink(missing_ok=True)
        queue_job(self.folder, model=str(self._model))
        paths = ["--list", self.folder / LIST_FILE, "--output", self._output, "--table", self._output / TABLE_FILE]
        options = [*self._options, "--skip-finished", "--job", self.folder]
        arguments = [*NAMELESS, "segment", "--model", self._model, *paths, *options]
        process = self._engine.start(arguments, self.folder / LOG_FILE, detached=True)
        self.batch = SegmentationBatch(self._output, process)
