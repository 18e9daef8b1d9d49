"""The check of names finds what is invented and believes what is not; on a small list of its own."""

import pytest
from api_check import problems
from api_check.names import Api

LIST = {
    "classes": {
        "qt.QObject": {"base": None, "own": ["connect", "disconnect", "objectName", "setProperty", "exec"]},
        "qt.QWidget": {"base": "qt.QObject", "own": ["enabled", "toolTip", "minimumSize"]},
        "qt.QPushButton": {"base": "qt.QWidget", "own": ["text", "clicked"]},
        "qt.QTableWidget": {"base": "qt.QWidget", "own": ["horizontalHeader", "NoEditTriggers", "itemChanged"]},
        "qt.QHeaderView": {"base": "qt.QWidget", "own": ["setSectionResizeMode", "Stretch"]},
        "qt.QTimer": {"base": "qt.QObject", "own": ["timeout", "start", "singleShot"]},
        "qt.QVBoxLayout": {"base": "qt.QObject", "own": ["spacing", "addWidget"]},
        "ctk.ctkCollapsibleButton": {"base": "qt.QWidget", "own": ["collapsed", "contentsCollapsed"]},
        "slicer.qMRMLWidget": {"base": "qt.QWidget", "own": ["mrmlSceneChanged", "setMRMLScene"]},
    },
    "qt": ["Signal"],
    "ctk": [],
    "slicer": ["app", "util", "modules", "mrmlScene", "packaging", "i18n", "parameterNodeWrapper", "vtkMRMLTextNode"],
    "slicer.util": ["loadUI", "childWidgetVariables", "VTKObservationMixin"],
    "slicer.app": ["processEvents", "connect", "layoutManager", "startupCompleted"],
    "slicer.modules": ["segmentations", "sampledata"],
    "slicer.modules.segmentations": ["logic", "name"],
    "slicer.modules.segmentations.logic()": "vtkSlicerSegmentationsModuleLogic",
    "slicer.mrmlScene": ["AddNewNodeByClass", "GetNodeByID"],
    "slicer.packaging": ["pip_ensure"],
    "slicer.i18n": ["tr"],
    "slicer.parameterNodeWrapper": ["parameterNodeWrapper"],
    "slicer.ScriptedLoadableModule.ScriptedLoadableModule": ["runTest"],
    "layoutManager": ["setLayout"],
    "applicationLogic": [],
}
FORM = """<ui version="4.0">
 <widget class="qMRMLWidget" name="panel">
  <layout class="QVBoxLayout" name="panelLayout">
   <property name="leftMargin"><number>0</number></property>
   <item>
    <widget class="QPushButton" name="startButton">
     <property name="text"><string>Start</string></property>
     <property name="SlicerParameterName" stdset="0"><string>preset</string></property>
    </widget>
   </item>
   <item><widget class="QTableWidget" name="table"/></item>
   <item><spacer name="space"><property name="orientation"><enum>Qt::Vertical</enum></property></spacer></item>
  </layout>
 </widget>
 <connections>
  <connection>
   <sender>panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>panel</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""
HEAD = """
import ctk
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class Parameters:
    preset: str = "fast"

"""


@pytest.fixture
def check(tmp_path):
    """Returns what is found in a module with some code and a form, without file and line."""

    def checked(code, form=FORM):
        folder = tmp_path / "Köpfe"
        (folder / "Resources").mkdir(parents=True)
        (folder / "Köpfe.py").write_text(HEAD + code, encoding="utf-8")
        (folder / "Resources" / "Köpfe.ui").write_text(form, encoding="utf-8")
        return [problem.split(": ", 1)[1] for problem in problems(folder, Api(LIST, ["Köpfe"]))]

    return checked


INVENTED = {
    "qt.QNoSuch()": "qt.QNoSuch",
    "qt.QTimer.noSuch": "qt.QTimer.noSuch",
    "ctk.ctkNoSuch": "ctk.ctkNoSuch",
    "ctk.ctkCollapsibleButton().noSuch": "ctk.ctkCollapsibleButton.noSuch",
    "slicer.noSuch": "slicer.noSuch",
    "slicer.util.noSuch()": "slicer.util.noSuch",
    "from slicer.util import noSuch": "slicer.util.noSuch",
    "slicer.app.noSuch()": "slicer.app.noSuch",
    "slicer.app.layoutManager().noSuch()": "layoutManager().noSuch",
    "slicer.app.connect('noSuch()', print)": "slicer.app.noSuch",
    "slicer.modules.noSuch": "slicer.modules.noSuch",
    "slicer.modules.segmentations.noSuch()": "slicer.modules.segmentations.noSuch",
    "slicer.mrmlScene.noSuch()": "slicer.mrmlScene.noSuch",
    "slicer.mrmlScene.AddNewNodeByClass('vtkMRMLNoSuchNode')": "class vtkMRMLNoSuchNode",
    "def f():\n    button = qt.QPushButton()\n    button.noSuch = 1": "qt.QPushButton.noSuch",
    "def f(ui):\n    ui.noSuch": "ui.noSuch",
    "def f(ui):\n    ui.startButton.noSuch = 1": "qt.QPushButton.noSuch",
    "def f(ui):\n    ui.startButton.connect('noSuch(bool)', print)": "qt.QPushButton.noSuch",
    "def f(ui):\n    ui.startButton.noSuch.connect(print)": "qt.QPushButton.noSuch",
    "def f(ui):\n    for button in (ui.startButton, ui.startButton):\n        button.noSuch()": "qt.QPushButton.noSuch",
    "def f(ui):\n    ui.table.horizontalHeader().noSuch()": "qt.QHeaderView.noSuch",
    "def f(ui):\n    g(ui.table)\ndef g(table):\n    table.noSuch()": "qt.QTableWidget.noSuch",
    "def f():\n    make().noSuch()\ndef make():\n    return qt.QTimer()": "qt.QTimer.noSuch",
    "def f(timer: qt.QTimer | None):\n    timer.noSuch()": "qt.QTimer.noSuch",
    "class A:\n  def g(self):\n   self.timer = qt.QTimer()\n  def f(self):\n   self.timer.noSuch()": "qt.QTimer.noSuch",
    "class A:\n  def __init__(self, ui):\n    self._ui = ui\n  def f(self):\n    self._ui.noSuch": "ui.noSuch",
    "class A(qt.QObject):\n    def f(self):\n        self.noSuch()": "qt.QObject.noSuch",
    "class A:\n  def f(self):\n    self.ui = slicer.util.childWidgetVariables(1)\n    self.ui.noSuch": "ui.noSuch",
    "import torch": "module torch, which may be absent: without `except ImportError`, it",
    "import PyTorchUtils": "module PyTorchUtils, which may be absent: without `except ImportError`, it",
    "from slicer.packaging import pip_ensure": (
        "module slicer.packaging, which may be absent: without `except ImportError`, it"
    ),
}


@pytest.mark.parametrize("code", INVENTED)
def test_an_invented_name_is_found(check, code):
    assert check(code) == [f"{INVENTED[code]} does not exist"]


RIGHT = [
    "qt.QTimer.singleShot(0, print)",
    "qt.QHeaderView.Stretch",
    "qt.QPushButton().exec_()",
    "slicer.modules.köpfe.anything()",
    "import SampleData",
    "slicer.app.connect('startupCompleted()', print)",
    "def f(ui):\n    ui.startButton.toolTip = ui.startButton.text\n    ui.startButton.connect('clicked(bool)', print)",
    "def f(ui):\n    ui.table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)",
    "def f(thing):\n    thing = qt.QTimer()\n    thing = other()\n    thing.anything()",
    "def f(ui):\n    g(ui.table)\n    g(ui.startButton)\ndef g(widget):\n    widget.text",
    "class A(qt.QObject):\n  def f(self):\n    self.mine = 1\n    self.mine\n    self.exec_()\n    self.f()",
    "try:\n    import PyTorchUtils\nexcept ImportError:\n    pass",
    "try:\n    from slicer.packaging import pip_ensure\nexcept ImportError:\n    pass",
    "if hasattr(slicer.modules, 'pytorchutils'):\n    import PyTorchUtils\n    slicer.modules.pytorchutils",
    "if hasattr(slicer.util, 'newer'):\n    slicer.util.newer()",
    "[timer.anything for timer in range(3)]\ntimer = qt.QTimer()",
]


@pytest.mark.parametrize("code", RIGHT)
def test_a_right_or_guarded_name_is_believed(check, code):
    assert check(code) == []


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ('name="text"', 'name="noSuch"', "qt.QPushButton.noSuch"),
        ('class="QTableWidget"', 'class="QNoSuch"', "class QNoSuch"),
        ('name="leftMargin"', 'name="noSuch"', "qt.QVBoxLayout.noSuch"),
        ('name="orientation"', 'name="noSuch"', "spacer.noSuch"),
        ("<signal>mrmlSceneChanged", "<signal>noSuch", "slicer.qMRMLWidget.noSuch"),
        ("<slot>setMRMLScene", "<slot>noSuch", "slicer.qMRMLWidget.noSuch"),
        ("<receiver>panel", "<receiver>noSuch", "noSuch"),
        ("<string>preset", "<string>noSuch", "parameter noSuch"),
        ("<string>Start", "<string>vtkMRMLNoSuchNode", "class vtkMRMLNoSuchNode"),
    ],
)
def test_what_a_form_invents_is_found(check, right, wrong, found):
    assert check("", FORM.replace(right, wrong)) == [f"{found} does not exist"]


def test_file_and_line_are_named(tmp_path):
    folder = tmp_path / "Mine"
    folder.mkdir()
    (folder / "Mine.py").write_text("import qt\n\nqt.QNoSuch()\n", encoding="utf-8")
    assert problems(folder, Api(LIST)) == [f"{folder / 'Mine.py'}:3: qt.QNoSuch does not exist"]


def test_methods_of_nodes_and_logics_are_those_of_slicer_core(check):
    pytest.importorskip("slicer_core")
    code = """
def f(volumeNode, segmentationNode):
    volumeNode.GetSpacing()
    volumeNode.noVolume()
    segment = segmentationNode.GetSegmentation().GetSegment("a")
    segment.GetName()
    segment.noSegment()
    volumeNode.GetDisplayNode().SetAutoWindowLevel(True)
    volumeNode.GetDisplayNode().noDisplay()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.SetText("")
    node.noText()
    slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode()
    slicer.modules.segmentations.logic().noLogic()
    vtk.vtkMatrix4x4().Invert()
    vtk.vtkMatrix4x4().noMatrix()
"""
    invented = [
        "vtkMRMLScalarVolumeNode.noVolume",
        "vtkSegment.noSegment",
        "vtkMRMLDisplayNode.noDisplay",
        "vtkMRMLTextNode.noText",
        "vtkSlicerSegmentationsModuleLogic.noLogic",
        "vtkMatrix4x4.noMatrix",
    ]
    assert check(code) == [f"{name} does not exist" for name in invented]
