"""How fast the inspector's pictures follow its sliders: frames a second with Slicer's own slice pipelines.

    python Testing/benchmarks/bench_inspector.py

A made-up sample is shown in three slice views of 512 x 512 pixels, as they are computed in Slicer (the drawing on the
screen, which is left to the graphics card, is not part of it): once with one picture from each axis, all of the
generated volume with its labels and the bent grid, once side by side (atlas, generated with the grid, target). Each
frame sets the slider's value and brings all three pictures up to date.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("Testing/Python", "BRBSTraining")]

ALLOWED = 0.1  # s a frame
PIXELS = 512


def main() -> None:
    """Prints frames a second, slider by slider."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=int, default=128, help="voxels along each axis (default %(default)s)")
    arguments.add_argument("--grid", type=int, default=64, help="cells of the displacement field along each axis")
    arguments.add_argument("--frames", type=int, default=50)
    chosen = arguments.parse_args()

    from inspector_folder import write_folder
    from standin.scene import installScene

    installScene()
    from BRBSTrainingLib.InspectorScene import ATLAS, ATLAS_LABELS, GENERATED, GENERATED_LABELS, TARGET, InspectorScene

    shown = InspectorScene()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        shown.load(write_folder(Path(folder), (chosen.size,) * 3, chosen.grid))
        print(f"made up and loaded in {time.perf_counter() - begun:.2f} s")
    generated = (GENERATED, GENERATED_LABELS)
    layouts = {
        "three axes": [generated] * 3,
        "side by side": [(ATLAS, ATLAS_LABELS), generated, (TARGET, None)],
    }
    for name, contents in layouts.items():
        orientations = ("Axial", "Sagittal", "Coronal") if name == "three axes" else ("Axial",) * 3
        views = [
            View(f"{name} {index}", orientation, shown, *roles)
            for index, (orientation, roles) in enumerate(zip(orientations, contents, strict=True))
        ]
        sliders = {
            "alpha": shown.setAlpha,
            "beta": shown.setBeta,
            "both": lambda value: (shown.setAlpha(value), shown.setBeta(value)),
        }
        for slider, move in sliders.items():
            report(f"{name}, {slider}", move, views, chosen.frames)


class View:
    """The pictures of one slice view: background and labels, resliced and coloured.

    Args:
        name: of the view.
        orientation: "Axial", "Sagittal" or "Coronal".
        shown: the sample.
        background: role of the volume; the generated one has the bent grid and arrows over it.
        labels: role of its label map, or None.
    """

    def __init__(self, name: str, orientation: str, shown, background: str, labels: str | None) -> None:
        import slicer
        import vtk

        from BRBSTrainingLib.InspectorScene import DISPLACEMENT, GENERATED

        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        node = self._logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetDimensions(PIXELS, PIXELS, 1)
        composite = self._logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(shown.find(background).GetID())
        composite.SetLabelVolumeID(shown.find(labels).GetID() if labels else None)
        self._logic.FitSliceToBackground()
        node = shown.find(DISPLACEMENT)  # drawn as grid and as arrows
        count = node.GetNumberOfDisplayNodes() if background == GENERATED else 0
        self._fields = [node.GetNthDisplayNode(index) for index in range(count)]
        self._draw, self._lines = slicer.vtkSlicerTransformLogic.GetVisualization2d, vtk.vtkPolyData()
        self.picture()

    def picture(self) -> int:
        """Brings the picture up to date; returns how many numbers it holds."""
        layers = [self._logic.GetBackgroundLayer(), self._logic.GetLabelLayer()]
        self._logic.GetBlend().Update()
        for layer in layers:
            if layer.GetVolumeNode() is not None:
                layer.GetImageDataConnection().GetProducer().Update()
        for field in self._fields:
            assert self._draw(self._lines, field, self._logic.GetSliceNode())
        return self._logic.GetBlend().GetOutput().GetNumberOfPoints()


def report(name: str, move: Callable[[float], object], views: list[View], frames: int) -> None:
    """Moves a slider from end to end and prints how long the pictures took."""
    seconds = []
    for frame in range(frames + 1):
        begun = time.perf_counter()
        move((frame + 1) / (frames + 1))
        assert all(view.picture() == PIXELS**2 for view in views)
        seconds.append(time.perf_counter() - begun)
    median, worst = statistics.median(seconds[1:]), max(seconds[1:])
    verdict = "ok" if median <= ALLOWED else f"more than {ALLOWED * 1000:.0f} ms"
    speed = f"median {median * 1000:6.1f} ms ({1 / median:5.1f} frames/s), worst {worst * 1000:6.1f} ms"
    print(f"{name:24s} {speed}  {verdict}")


if __name__ == "__main__":
    main()
