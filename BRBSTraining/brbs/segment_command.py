"""The command ``segment``: one scan, or many that are shared among the processes that were launched together."""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from .bundle_file import check_bundle
from .errors import InputError
from .files import check_replaceable
from .hidden_names import call_scans
from .image_files import check_writable_suffix
from .job import JobWriter, telling_the_queue
from .launcher import rank, restarts
from .model_description import read_description
from .result_table import FAILED, ResultTable, read_parts, result_identity
from .scan_files import (
    check_not_among_scans,
    check_not_scans,
    folder_scans,
    is_folder_of_scans,
    label_map_files,
    listed_scans,
)

if TYPE_CHECKING:
    from .batch import Batch
    from .processes import Group
    from .segmentation_job import SegmentationJob
    from .shared_batch import KeptEvents

log = logging.getLogger("brbs")

Pairs = list[tuple[Path, Path]]  # scans and the files of their label maps


def segment(arguments: argparse.Namespace) -> int:
    """Segments one scan, a folder of scans or a list of them with one model.

    Returns:
        0, or 2 when some scans of several could not be segmented (the others are).
    """
    if rank() > 0:
        return _follow(arguments)
    with telling_the_queue(arguments.job) if arguments.job else nullcontext():
        return _lead(arguments)


def _lead(arguments: argparse.Namespace) -> int:
    """Checks everything before anything is done; then works alone, or as the first of several processes."""
    pairs = _scans_and_label_maps(arguments)
    _call(pairs)
    check_bundle(arguments.model)
    if arguments.skip_finished and not arguments.table:
        raise InputError("--skip-finished: needs --table, which tells what is finished")
    if arguments.table and os.path.realpath(arguments.table) in {os.path.realpath(path) for _, path in pairs}:
        raise InputError(f"{arguments.table}: is to be a label map as well as the table; give the table another name")
    table, group = _table(arguments), _ready(arguments)
    if table is not None:
        check_replaceable(table.path)
    if len(pairs) > 1 or arguments.table or arguments.job or group.world > 1:
        return _segment_many(arguments, pairs, table, group)
    from .segmentation_job import Segmenter

    result = Segmenter().run(*_jobs(arguments, pairs, group))
    log.info("%s -> %s", *pairs[0])
    if result.message:
        log.info("%s", result.message)
    return 0


def _segment_many(arguments: argparse.Namespace, pairs: Pairs, table: ResultTable | None, group: Group) -> int:
    from .batch import summary
    from .shared_batch import Share, take_shares

    scans = [scan for scan, _ in pairs]
    if table is not None and (rows := read_parts(table.path)):
        table.take(rows, scans)
    description = {"model": arguments.model, "scans": len(scans), "table": arguments.table}
    with JobWriter(arguments.job, **description) if arguments.job else nullcontext() as watcher, group.connected():
        group.broadcast(pairs)
        batch = _batch(arguments, pairs, table, watcher, group)
        own = Share(batch.run(), batch.counts)
        whole = take_shares(group.gather(own), scans, table, watcher)
        if table is not None:
            table.catch_up()
        told = summary(whole.counts, len(scans))
        if watcher is not None:
            watcher.update(state="finished", message=told if whole.complete else f"stopped: {told}")
    log.log(logging.WARNING if whole.counts[FAILED] else logging.INFO, "%s", told)
    return 2 if whole.counts[FAILED] else 0


def _follow(arguments: argparse.Namespace) -> int:
    """Does a share of what the first process has checked, and hands over what there is to tell of it."""
    from .shared_batch import KeptEvents, Share

    group, kept = _ready(arguments), KeptEvents(arguments.job)
    with group.connected():
        pairs = group.broadcast(None)
        _call(pairs)
        table = _table(arguments, group.rank)
        batch = _batch(arguments, pairs, table, kept, group)
        shares = group.gather(Share(batch.run(), batch.counts, table.written if table else [], kept.events))
    return 2 if any(share.counts[FAILED] for share in shares) else 0


def _call(pairs: Pairs) -> None:
    """Numbers scans and label maps for a log without names."""
    call_scans((scan for scan, _ in pairs), "scan")
    call_scans((target for _, target in pairs), "label map")


def _ready(arguments: argparse.Namespace) -> Group:
    """This process among all, with its share of the machine; refuses a device that is not there."""
    from .device import keep_freed_memory, share_processor
    from .processes import Group

    group = Group.launched()
    group.device(arguments.device)
    share_processor()
    keep_freed_memory()
    return group


def _table(arguments: argparse.Namespace, part: int = 0) -> ResultTable | None:
    structures = [label["name"] for label in read_description(arguments.model)["labels"]]
    return ResultTable(arguments.table, structures, part) if arguments.table else None


def _batch(
    arguments: argparse.Namespace,
    pairs: Pairs,
    table: ResultTable | None,
    watcher: JobWriter | KeptEvents | None,
    group: Group,
) -> Batch:
    """This process's share of the scans."""
    from .batch import Batch

    jobs = _jobs(arguments, pairs[group.rank :: group.world], group)
    skip = arguments.skip_finished or restarts() > 0
    identity = result_identity(arguments.model, arguments.components, arguments.probabilities)
    return Batch(jobs, identity, table, skip, watcher)


def _jobs(arguments: argparse.Namespace, pairs: Pairs, group: Group) -> list[SegmentationJob]:
    from .segmentation_job import SegmentationJob

    options = {
        "device": str(group.device(arguments.device)),
        "confidence": bool(arguments.table or arguments.job),
        "probabilities": arguments.probabilities,
        "components": arguments.components,
    }
    return [SegmentationJob(Path(arguments.model), scan, target, **options) for scan, target in pairs]


def _scans_and_label_maps(arguments: argparse.Namespace) -> Pairs:
    output = Path(arguments.output)
    if bool(arguments.input) == bool(arguments.list):
        raise InputError("give either --input or --list")
    if arguments.list:
        scans = listed_scans(arguments.list)
        call_scans(scans, "scan")  # before anything is said of them
        return label_map_files(scans, output, arguments.format)
    source = Path(os.path.abspath(arguments.input))  # so that "." has a name
    if is_folder_of_scans(source):
        pairs = label_map_files(folder_scans(source, arguments.pattern), output, arguments.format)
        check_not_among_scans(pairs, arguments.probabilities)
        return pairs
    if output.is_dir() or not output.suffix:
        return label_map_files([source], output, arguments.format)
    if arguments.format:
        raise InputError(f"--format {arguments.format}: --output names a file and so its format; leave one of them out")
    check_writable_suffix(output)
    check_not_scans([(source, output)])
    return [(source, output)]
