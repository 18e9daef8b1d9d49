"""Command line of the engine: ``python -m brbs COMMAND``."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import typing
from dataclasses import fields

from . import __version__, commands, segment_command, train_command
from .components import COMPONENTS
from .errors import InputError, memory_was_short
from .expected_time import FEWEST_STEPS
from .hidden_names import hide_names
from .launcher import world
from .ranking import RANKING_FILE
from .scan_files import ALL
from .settings import DEFAULT_PRESET, PAPER, PRESETS, Settings


class _Parser(argparse.ArgumentParser):
    """Takes options by their whole names, and tells of a wrong one without listing all."""

    def __init__(self, **options) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> typing.NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` tells what there is\n")


def parser() -> argparse.ArgumentParser:
    """The argument parser of all commands; options of ``train`` come from :class:`Settings`."""
    top = _Parser(prog="brbs", description="Few-shot segmentation taught by registration.")
    top.add_argument("--version", action="version", version=f"brbs {__version__}")
    about = "print what files are ('unlabeled scan 3') in place of paths and names, for a log that others may read"
    top.add_argument("--hide-names", action="store_true", help=about)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_train, _add_segment, _add_evaluate, _add_warp, _add_worker, _add_import_weights, _add_demo):
        add(subparsers)
    _add_rank(subparsers)
    _add_check(subparsers)
    _add_exchange(subparsers)
    _add_devices(subparsers)
    return top


def _command(subparsers, name: str, function, help: str) -> argparse.ArgumentParser:
    command = subparsers.add_parser(name, help=help, description=help)
    command.set_defaults(run=function)
    return command


def _add_device(command: argparse.ArgumentParser) -> None:
    about = "device to compute on: auto, cpu, cuda, cuda:1, mps (default: auto, the first GPU or else the processor)"
    command.add_argument("--device", default="auto", help=about)


def _add_train(subparsers) -> None:
    command = _command(subparsers, "train", train_command.train, "train on a few annotated and many unannotated scans")
    command.add_argument("--atlas-images", metavar="DIR", help="folder of annotated scans, the atlases")
    command.add_argument("--atlas-labels", metavar="DIR", help="folder of their label maps, paired by file name")
    command.add_argument("--unlabeled", metavar="DIR", help="folder of scans without annotation")
    about = "folder of the Medical Segmentation Decathlon or nnU-Net in place of these three: scans with a label map"
    about += " are the atlases, all others unlabeled"
    command.add_argument("--dataset", metavar="DIR", help=about)
    command.add_argument("--study", metavar="DIR", help="study folder: written, or read when no scans are given")
    about = "folder of annotated scans that are neither atlases nor unlabeled scans (default: bent atlases are"
    about += " validated on)"
    command.add_argument("--validation-images", metavar="DIR", help=about)
    command.add_argument("--validation-labels", metavar="DIR", help="folder of their label maps, paired by file name")
    command.add_argument("--output", metavar="MODEL", required=True, help="folder of the model")
    lengths = ", ".join(f"{name} {preset.steps}" for name, preset in PRESETS.items())
    minutes = "training time in minutes, instead of the preset's steps; with --steps, what is used up first ends it;"
    minutes += f" few make voxels coarser, until {FEWEST_STEPS} steps fit (not with --spacing)"
    command.add_argument("--minutes", type=float, help=minutes)
    command.add_argument("--steps", type=int, help=f"number of steps (default without --minutes: {lengths})")
    command.add_argument("--resume", action="store_true", help="go on with the training in --output and its settings")
    about = "replace the model in --output, and the study in --study where scans are given for a new one"
    command.add_argument("--overwrite", action="store_true", help=about)
    preset = "number of steps; paper also takes the publication's settings, the others keep the study's own, if they"
    preset += f" are not those (default: {DEFAULT_PRESET})"
    command.add_argument("--preset", choices=PRESETS, help=preset)
    _add_device(command)
    _add_settings(command.add_argument_group("settings"))


def _add_settings(group: argparse._ArgumentGroup) -> None:
    types = typing.get_type_hints(Settings)
    for item in fields(Settings):
        kind, count = _scalar_type(types[item.name])
        default = " ".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
        group.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            nargs=count,
            choices=item.metadata["choices"],
            metavar=None if item.metadata["choices"] else kind.__name__.upper(),
            help=(item.metadata["help"] + ("" if default is None else f" (default: {default})")).replace("%", "%%"),
        )


def _scalar_type(hint) -> tuple[type, int | str | None]:
    """Type of one value on the command line, and how many there are: None for one, "+" for any number."""
    alternatives = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is not tuple and alternatives:
        return _scalar_type(alternatives[0])
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        return items[0], "+" if Ellipsis in items else len(items)
    return hint, None


def _add_segment(subparsers) -> None:
    command = _command(subparsers, "segment", segment_command.segment, "segment a scan or a folder of scans")
    command.add_argument("--model", required=True, metavar="DIR", help="folder that train wrote")
    command.add_argument("--input", metavar="FILE_OR_DIR", help="scan (file or DICOM folder) or folder of scans")
    command.add_argument("--list", metavar="FILE", help="text file that names scans, one a line, instead of --input")
    about = "names of the scans of a folder, such as *_T1.nii.gz (default: all)"
    command.add_argument("--pattern", default=ALL, help=about)
    about = "label map to be written (.nii.gz, .nrrd, .seg.nrrd, .mha), or folder for label maps named like their scans"
    about += "; replaces what is there, so keep corrected ones elsewhere"
    command.add_argument("--output", required=True, metavar="FILE_OR_DIR", help=about)
    about = "suffix of the label maps in a folder, such as .seg.nrrd (default: as the scan's, .nii.gz for DICOM)"
    command.add_argument("--format", metavar="SUFFIX", help=about)
    about = "write volumes and confidences of each scan to this CSV table"
    command.add_argument("--table", metavar="FILE.csv", help=about)
    about = "skip scans that the table lists as finished, if neither they nor the model have changed, and --components"
    about += " and --probabilities are the same"
    command.add_argument("--skip-finished", action="store_true", help=about)
    command.add_argument("--job", metavar="DIR", help="folder in which others watch or stop the batch")
    command.add_argument("--probabilities", action="store_true", help="write an image of each class's probability too")
    about = "pieces of structures that stay: no small ones where all atlases have one piece (default), one each, or all"
    command.add_argument("--components", choices=COMPONENTS, default=COMPONENTS[0], help=about)
    _add_device(command)


def _add_rank(subparsers) -> None:
    about = "rank a study's unlabeled scans: which to annotate next"
    command = _command(subparsers, "rank", commands.rank, about)
    command.add_argument("--model", required=True, metavar="DIR", help="folder of the model, best of the same study")
    command.add_argument("--study", required=True, metavar="DIR", help="study folder whose unlabeled scans are ranked")
    about = f"file for the ranking (default: {RANKING_FILE} in the study's folder, where BRBS Segmentation looks)"
    command.add_argument("--output", metavar="FILE.json", help=about)
    _add_device(command)


def _add_evaluate(subparsers) -> None:
    command = _command(subparsers, "evaluate", commands.evaluate, "compare label maps with references")
    command.add_argument("--prediction", required=True, metavar="DIR", help="folder of label maps to be judged")
    about = "folder of true label maps, paired by file name; each needs a prediction"
    command.add_argument("--reference", required=True, metavar="DIR", help=about)
    about = "folder for the report: cases.csv, summary.json, report.png"
    command.add_argument("--output", required=True, metavar="DIR", help=about)
    about = "folder of the scans, on which the median and the worst case are drawn (default: label maps alone)"
    command.add_argument("--images", metavar="DIR", help=about)


def _add_warp(subparsers) -> None:
    command = _command(subparsers, "warp", commands.warp, "generate one sample from an atlas and two scans")
    command.add_argument("--model", required=True, metavar="DIR", help="folder of the model or of a running training")
    about = "take the networks of the training's last checkpoint, as is done where there is no model yet"
    command.add_argument("--checkpoint", action="store_true", help=about)
    command.add_argument("--atlas", required=True, help="name of an atlas of the model, or its file")
    command.add_argument("--style", required=True, metavar="FILE", help="scan whose style, its grey values, is taken")
    command.add_argument("--space", required=True, metavar="FILE", help="scan whose shape is taken")
    about = "label map of that scan, to tell how well the atlas is brought over it"
    command.add_argument("--space-labels", metavar="FILE", help=about)
    command.add_argument("--study", metavar="DIR", help="study that atlas and scans must belong to")
    about = "share of the deformation, 0 the atlas's shape, 1 the scan's (default: 1)"
    command.add_argument("--alpha", type=float, default=1.0, help=about)
    about = "share of the style change, 0 the atlas's grey values, 1 the scan's (default: 1)"
    command.add_argument("--beta", type=float, default=1.0, help=about)
    about = "draw N pairs of shares as the publication does, and put their samples on one sheet (default: 0)"
    command.add_argument("--samples", type=int, default=0, metavar="N", help=about)
    command.add_argument("--seed", type=int, default=0, help="seed of these draws (default: 0)")
    about = "folder for images, label maps, displacement field and figures of the sample"
    command.add_argument("--output", required=True, metavar="DIR", help=about)
    _add_device(command)


def _add_worker(subparsers) -> None:
    command = _command(subparsers, "worker", commands.worker, "keep models loaded and segment what a program sends")
    command.add_argument("--folder", required=True, metavar="DIR", help="folder of requests and answers")
    about = "exit after this many minutes without a request (default: 10)"
    command.add_argument("--idle-minutes", type=float, default=10.0, help=about)
    about = "exit when the process with this ID ends, and remove --folder if it is temporary (default: only when idle)"
    command.add_argument("--parent", type=int, metavar="PID", help=about)


def _add_import_weights(subparsers) -> None:
    about = "make a model of the original release's checkpoints"
    command = _command(subparsers, "import-weights", commands.import_weights, about)
    command.add_argument("--segmentation", required=True, metavar="FILE", help="the segmentation network, Seger_*.pth")
    about = "the registration network, Reger_*.pth (default: none, so the model cannot register)"
    command.add_argument("--registration", metavar="FILE", help=about)
    command.add_argument("--size", type=int, nargs=3, required=True, metavar="N", help="voxels of its volumes, x y z")
    command.add_argument("--spacing", type=float, nargs=3, required=True, metavar="MM", help="their edges in mm, x y z")
    about = "grey values mapped to 0 and 1 (default: {:g} {:g}, those of the release)".format(*PAPER.window)
    command.add_argument("--window", type=float, nargs=2, metavar="VALUE", help=about)
    command.add_argument("--output", required=True, metavar="MODEL", help="folder of the model")
    command.add_argument("--overwrite", action="store_true", help="replace the model in --output")


def _add_exchange(subparsers) -> None:
    about = "write a model to one file for others, without names of scans"
    command = _command(subparsers, "export-model", commands.export_model, about)
    command.add_argument("--model", required=True, metavar="DIR", help="folder that train or import-model wrote")
    command.add_argument("--output", required=True, metavar="FILE.zip", help="file to be written; replaces one there")
    about = "unpack a model that export-model wrote"
    command = _command(subparsers, "import-model", commands.import_model, about)
    command.add_argument("--input", required=True, metavar="FILE.zip", help="file that export-model wrote")
    about = "folder of models, in which the model becomes a folder named like the file"
    command.add_argument("--output", required=True, metavar="DIR", help=about)


def _add_demo(subparsers) -> None:
    command = _command(subparsers, "demo", commands.demo, "run the whole pipeline on made-up scans, in about 5 minutes")
    about = "folder for the made-up study, model, results, report and pictures"
    command.add_argument("--output", required=True, metavar="DIR", help=about)
    _add_device(command)


def _add_check(subparsers) -> None:
    about = "look at every scan and label map of a study; what is found goes to checks.jsonl in its folder; exit code 3"
    about += " if something cannot be used"
    command = _command(subparsers, "check", commands.check, about)
    command.add_argument("--study", required=True, metavar="DIR", help="study folder, which holds study.json")


def _add_devices(subparsers) -> None:
    _command(subparsers, "devices", commands.devices, "tell packages, devices and their speed as one JSON object")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; bad input is told in one message.

    Returns:
        Exit code: 0 good, 2 what the message tells (bad input, a missing package, a full disk, too little memory), 3
        `check` has found what cannot be used, 130 interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names of structures that a Windows code page lacks
    parsed = parser().parse_args(arguments)
    if parsed.hide_names:
        hide_names(parsed)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return parsed.run(parsed) or 0
    except InputError as error:
        print(f"brbs: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        remedy = "install what `python -m brbs.device_report` lists as missing"
        print(f"brbs: {error.name} is not installed in this Python; {remedy}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"brbs: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not memory_was_short(error):
            raise
        remedy = "close other programs, crop the scans, or take --device cpu in place of a GPU"
        print(f"brbs: this computer's memory, or its GPU's, is too small for this; {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("brbs: interrupted", file=sys.stderr)
        return 130


def leave(status: int) -> typing.NoReturn:
    """Ends this process with an exit code; one of several (``torchrun``) at once, with nothing unloaded.

    All is written by then, and PyTorch's Gloo now and then aborts where it is unloaded, which the launcher would take
    for a failure of the run.
    """
    if world() == 1:
        sys.exit(status)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def console() -> typing.NoReturn:
    """The installed command ``brbs``."""
    leave(main())


if __name__ == "__main__":
    console()
