"""Curves over training steps as a chart of the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from brbs.segments import default_label

from .ThinnedRows import ThinnedRows

ATTRIBUTE = "BRBS.Plots"  # by which the nodes are found again
STEPS = "training step"  # column of the x axis
LINE_WIDTH = 2


class CurveChart:
    """A table, a series a curve and a chart; made when there is something to be shown, and again when deleted.

    The numbers are kept here, too: closing the scene loses none. The nodes are not saved with the scene, as they are
    made from the training's own record.

    Args:
        role: what the nodes are known by.
        title: name of the chart for people.
        yTitle: what the curves show.
        yRange: fixed range of the y axis; None: as the curves need it.
        markers: whether to mark every point.
    """

    def __init__(
        self, role: str, title: str, yTitle: str, yRange: tuple[float, float] | None = None, markers: bool = False
    ) -> None:
        self._role, self._title, self._yTitle, self._yRange, self._markers = role, title, yTitle, yRange, markers
        self._rows = ThinnedRows()

    def add(self, steps: Sequence[float], rows: Sequence[Mapping[str, float]]) -> None:
        """Adds points to the curves.

        Args:
            steps: training step of each row; where they go back, the curves are cut there first.
            rows: values by the curve's name.
        """
        if steps:
            self._rows.add(steps, rows)
            self.update()

    def clear(self) -> None:
        """Empties the curves; a chart that is shown stays."""
        self._rows.clear()
        if self._found("vtkMRMLTableNode"):
            self.update()

    def remove(self) -> None:
        """Empties the curves and removes the nodes."""
        self._rows.clear()
        for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
            for node in self._found(className).values():
                slicer.mrmlScene.RemoveNode(node)

    def update(self):
        """Writes the curves into their nodes, which are made where they are missing.

        Returns:
            The vtkMRMLPlotChartNode.
        """
        table = self._node("vtkMRMLTableNode", _("{title} table").format(title=self._title))
        table.SetAndObserveTable(self._table())
        chart = self._node("vtkMRMLPlotChartNode", self._title, self._styleChart)
        known = self._found("vtkMRMLPlotSeriesNode")
        for name in known.keys() - set(self._rows.names):
            slicer.mrmlScene.RemoveNode(known[name])
        for index, name in enumerate(self._rows.names):
            series = known.get(name) or self._newSeries(name, default_label(index + 1)[2])
            series.SetAndObserveTableNodeID(table.GetID())
            if not chart.HasPlotSeriesNodeID(series.GetID()):
                chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return chart

    def _table(self) -> vtk.vtkTable:
        table = vtk.vtkTable()
        columns = {STEPS: self._rows.steps, **{name: self._rows.column(name) for name in self._rows.names}}
        for name, values in columns.items():
            column = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
            column.SetName(name)
            table.AddColumn(column)
        return table

    def _found(self, className: str) -> dict:
        """This chart's nodes of a class, by the name of the curve they show ("" for table and chart)."""
        nodes = [(node.GetAttribute(ATTRIBUTE) or "", node) for node in slicer.util.getNodesByClass(className)]
        start = f"{self._role}:"
        return {attribute.removeprefix(start): node for attribute, node in nodes if attribute.startswith(start)}

    def _node(self, className: str, name: str, style=None, curve: str = ""):
        node = self._found(className).get(curve)
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(className, name)
            node.SetAttribute(ATTRIBUTE, f"{self._role}:{curve}")
            node.SetSaveWithScene(False)
            if style is not None:
                style(node)
        return node

    def _newSeries(self, curve: str, colour: tuple[float, float, float]):
        def style(series) -> None:
            series.SetXColumnName(STEPS)
            series.SetYColumnName(curve)
            series.SetPlotType(series.PlotTypeScatter)  # a line through points of x and y
            series.SetMarkerStyle(series.MarkerStyleCircle if self._markers else series.MarkerStyleNone)
            series.SetLineWidth(LINE_WIDTH)
            series.SetColor(*colour)

        return self._node("vtkMRMLPlotSeriesNode", curve.replace("_", " "), style, curve)

    def _styleChart(self, chart) -> None:
        chart.SetTitle(self._title)
        chart.SetXAxisTitle(_("Training step"))
        chart.SetYAxisTitle(self._yTitle)
        if self._yRange is not None:
            chart.SetYAxisRangeAuto(False)
            chart.SetYAxisRange(*self._yRange)
