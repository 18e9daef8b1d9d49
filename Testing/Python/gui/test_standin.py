"""Where the stand-ins for Slicer's widgets would hide mistakes in our modules if they were wrong."""

from typing import Annotated

import ctk
import pytest
import qt
import slicer
from slicer.parameterNodeWrapper import Choice, Minimum, parameterNodeWrapper


def test_properties_are_attributes_and_nothing_else_can_be_set(application):
    table = qt.QTableWidget()
    table.rowCount = 3
    assert table.rowCount == 3
    with pytest.raises(TypeError):
        table.rowCount()
    with pytest.raises(AttributeError, match="rowcount"):
        table.rowcount = 4
    with pytest.raises(AttributeError):
        table.setRowCount = 4


def test_an_inherited_property_is_one_although_the_class_has_a_method_of_its_name(application):
    layout = qt.QVBoxLayout()
    layout.spacing = 3
    assert layout.spacing == 3


def test_a_slot_gets_the_arguments_of_the_signature_that_it_takes(application):
    button, combo, got = qt.QPushButton(), qt.QComboBox(), []
    combo.addItems(["fast", "thorough"])
    button.connect("clicked()", lambda row=7: got.append(row))
    button.connect("clicked(bool)", got.append)
    button.connect("clicked(bool)", lambda: got.append("clicked"))
    combo.connect("currentIndexChanged(int)", got.append)
    combo.connect("currentIndexChanged(QString)", got.append)
    button.click()
    combo.currentIndex = 1
    assert got == [7, False, "clicked", 1, "thorough"]


def test_a_disconnected_slot_is_not_called(application):
    timer, got = qt.QTimer(), []
    timer.connect("timeout()", got.append)
    timer.disconnect("timeout()", got.append)
    timer.timeout.emit()
    assert got == []


def test_an_unknown_signal_cannot_be_connected(application):
    with pytest.raises(ValueError, match="QPushButton has no signal clicked"):
        qt.QPushButton().connect("clicked(int)", print)


def test_an_exception_in_a_slot_is_recorded(application, capsys):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert isinstance(application.recorded.slotErrors.pop(), ZeroDivisionError)


def test_contents_of_a_collapsed_section_are_hidden_and_come_back_as_they_were(application):
    section = ctk.ctkCollapsibleButton()
    section.collapsed = True
    layout = qt.QVBoxLayout(section)
    shown, hidden, revealed = qt.QLabel("a"), qt.QLabel("b"), qt.QLabel("c")
    hidden.visible = revealed.visible = False
    for label in (shown, hidden, revealed):
        layout.addWidget(label)
    section.show()
    application.processEvents()
    assert not shown.visible
    revealed.visible = True
    assert not revealed.visible
    dismissed = qt.QLabel("d")
    layout.addWidget(dismissed)
    application.processEvents()
    dismissed.visible = False

    folded = []
    section.connect("contentsCollapsed(bool)", folded.append)
    section.collapsed = False
    assert [label.visible for label in (shown, hidden, revealed, dismissed)] == [True, False, True, False]
    assert folded == [False]
    section.click()
    assert section.collapsed and not shown.visible


def pathEdit(told):
    edit = ctk.ctkPathLineEdit()
    edit.settingKey = "Köpfe"
    edit.connect("currentPathChanged(QString)", told.append)
    return edit


def test_a_path_of_the_history_is_shown_again_and_nobody_is_told(application):
    told = []
    for path in ("first", "second"):
        edit = pathEdit(told)
        edit.currentPath = path
        edit.addCurrentPathToHistory()
    del told[:]
    edit = pathEdit(told)
    assert edit.currentPath == "second"
    edit.currentPath = "second"
    assert told == []
    edit.currentPath = "elsewhere"
    assert told == ["elsewhere"]


def test_remembering_the_path_that_the_history_shows_tells_of_the_next_for_a_moment(application):
    told = []
    edit = pathEdit(told)
    for path in ("first", "second"):
        edit.currentPath = path
        edit.addCurrentPathToHistory()
    del told[:]
    edit.addCurrentPathToHistory()
    assert edit.currentPath == "second"
    assert told == ["first", "second"]


def test_a_node_selector_follows_the_scene(application, scene):
    selector, chosen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
    selector.setMRMLScene(scene)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Kopf")
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Kiefer")
    assert selector.nodeCount() == 1 and selector.currentNode() is None
    selector.setCurrentNode(volume)
    volume.SetName("Schädel")
    assert selector.findChild(qt.QComboBox).currentText == "Schädel"
    scene.RemoveNode(volume)
    assert selector.nodeCount() == 0 and selector.currentNode() is None
    assert chosen == [volume, None]


def test_an_obligatory_node_is_chosen_by_itself(application, scene):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(scene)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert selector.currentNodeID == volume.GetID()


@parameterNodeWrapper
class Parameters:
    folder: str = "Köpfe"
    preset: Annotated[str, Choice(["fast", "thorough"])] = "thorough"
    steps: Annotated[int, Minimum(0)] = 5
    share: float
    keep: bool = True
    volume: slicer.vtkMRMLScalarVolumeNode


def parameters():
    logic = slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic()
    return Parameters(logic.getParameterNode())


def test_parameters_survive_saving_and_loading_the_scene(application, scene, tmp_path):
    wrapped = parameters()
    wrapped.steps, wrapped.share, wrapped.keep = 12, 0.25, False
    wrapped.volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Kopf")
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    assert parameters().steps == 5
    scene.Clear(0)
    scene.Connect()

    wrapped = parameters()
    assert (wrapped.folder, wrapped.steps, wrapped.share, wrapped.keep) == ("Köpfe", 12, 0.25, False)
    assert wrapped.volume.GetName() == "Kopf"


def test_closing_the_scene_brings_back_the_defaults(application, scene):
    wrapped, edit = parameters(), qt.QLineEdit()
    wrapped.connectParametersToGui({"folder": edit})
    wrapped.steps, wrapped.folder = 12, "Füße"
    scene.Clear(0)
    assert (wrapped.steps, wrapped.folder, edit.text) == (5, "Köpfe", "Köpfe")


def test_parameters_have_their_types(application):
    wrapped = parameters()
    assert wrapped.volume is None and wrapped.share == 0.0
    for name, value in [("steps", 1.5), ("folder", None), ("preset", "slow")]:
        with pytest.raises(ValueError, match=name):
            setattr(wrapped, name, value)


def named(widget, parameter):
    widget.setProperty("SlicerParameterName", parameter)
    return widget


def test_parameters_and_widgets_follow_each_other(application, scene):
    wrapped, form = parameters(), type("", (), {})()
    form.folder, form.preset = named(qt.QLineEdit(), "folder"), named(qt.QComboBox(), "preset")
    form.steps, form.volume = named(qt.QSpinBox(), "steps"), named(slicer.qMRMLNodeComboBox(), "volume")
    form.volume.setMRMLScene(scene)
    form.other = qt.QLabel()
    wrapped.connectGui(form)
    assert (form.folder.text, form.preset.currentText, form.steps.value) == ("Köpfe", "thorough", 5)

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Kopf")
    form.preset.currentIndex = 0
    form.steps.value = 7
    form.volume.setCurrentNode(volume)
    assert (wrapped.preset, wrapped.steps, wrapped.volume) == ("fast", 7, volume)
    wrapped.folder = "Füße"
    assert form.folder.text == "Füße"


def test_widgets_of_a_tag_are_disconnected(application):
    wrapped, edit, kept = parameters(), qt.QLineEdit(), qt.QLineEdit()
    wrapped.connectParametersToGui({"folder": kept})
    wrapped.disconnectGui(wrapped.connectParametersToGui({"folder": edit}))
    edit.text = "elsewhere"
    assert wrapped.folder == "Köpfe"
    wrapped.folder = "Füße"
    assert (edit.text, kept.text) == ("elsewhere", "Füße")


def test_what_slicer_cannot_connect_is_refused(application):
    wrapped = parameters()
    with pytest.raises(RuntimeError, match="Choice"):
        wrapped.connectParametersToGui({"folder": qt.QComboBox()})
    with pytest.raises(RuntimeError, match="ctkPathLineEdit"):
        wrapped.connectParametersToGui({"folder": ctk.ctkPathLineEdit()})
    with pytest.raises(ValueError, match="nosuch"):
        wrapped.connectParametersToGui({"nosuch": qt.QLineEdit()})
