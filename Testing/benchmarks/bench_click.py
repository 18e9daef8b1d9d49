"""Seconds from a click on Apply to the segmentation in the scene: the first scan, then with the model loaded.

    python Testing/benchmarks/bench_click.py --model MODEL --scans DIR
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("Testing/Python", "BRBSTraining", "BRBSSegmentation")]


def main() -> None:
    """Prints the times of each scan and their median."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--scans", type=Path, required=True)
    arguments.add_argument("--count", type=int, default=10)
    chosen = arguments.parse_args()

    from standin.scene import installScene
    from standin.widgets import installWidgets

    installScene()
    installWidgets().settings().clear()
    import slicer

    import BRBSSegmentation
    from brbs.image_files import list_images

    logic = BRBSSegmentation.BRBSSegmentationLogic()
    shown, ended = [], []
    for path in list_images(chosen.scans)[: chosen.count]:
        volumeNode = slicer.util.loadVolume(str(path))
        run = logic.startSegmentation(volumeNode, chosen.model.resolve(), device="auto")
        at = None
        while run.active:
            run.poll()
            at = at or (run.seconds if run.node else None)
            time.sleep(0.01)
        if run.node is None:
            raise SystemExit(run.message)
        shown.append(at)
        ended.append(run.seconds)
        print(f"{path.name}: node after {at:.2f} s, confidence after {run.seconds:.2f} s", flush=True)
    logic.close()
    print(f"first {shown[0]:.2f} s; then median {statistics.median(shown[1:]):.2f} s (longest {max(shown[1:]):.2f} s), "
          f"with confidence {statistics.median(ended[1:]):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
