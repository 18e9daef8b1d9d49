"""How the training panel watches trainings that begin, end, get damaged or vanish without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import slicer
from panel_steps import create, fill
from panel_user import click, wait

import brbs.job
from brbs.job import JobWriter
from BRBSTrainingLib.BackgroundJob import LOG_FILE


def folder(study: Path, number: str = "001") -> Path:
    """The job's folder of a training."""
    return study / "models" / number / "training"


def begin(study: Path, number: str = "001") -> JobWriter:
    """A training that runs, in this process, until the block ends."""
    return JobWriter(folder(study, number), study=str(study), output=str(folder(study, number).parent))


def end(study: Path, number: str = "001", progress: float = 1.0) -> None:
    """A training that has ended."""
    with begin(study, number) as job:
        job.update(state="finished", progress=progress, message="stopped after 7 steps")


def test_asking_one_training_to_stop_does_not_end_another(widget, ui, tmp_path: Path, monkeypatch) -> None:
    studies = [tmp_path / "A", tmp_path / "B"]
    for study in studies:
        create(ui, study)
    monkeypatch.setattr("BRBSTrainingLib.TrainSection.PATIENCE_SECONDS", 0.0)
    with begin(studies[0]), begin(studies[1]):
        widget.panel.show(studies[0])
        wait(lambda: ui.stopButton.enabled)
        click(ui.stopButton)
        assert ui.stopButton.text == "End at once"
        widget.panel.show(studies[1])
        wait(lambda: "runs" in ui.stateLabel.text)
        assert ui.stopButton.text == "Stop and keep"
        click(ui.stopButton)
        assert (folder(studies[1]) / "stop.request").exists()
        assert ui.stopButton.text == "End at once"


def test_going_on_is_a_question_that_can_be_dismissed(widget, ui, files: Path, tmp_path: Path, monkeypatch) -> None:
    import qt

    fill(widget, files, tmp_path / "Studie")
    end(tmp_path / "Studie", progress=0.4)
    (folder(tmp_path / "Studie") / "last.pt").touch()
    widget.enter()
    wait(lambda: ui.startButton.enabled and ui.startButton.text == "Start…")
    done = []
    monkeypatch.setattr(widget.panel.session, "goOn", lambda device: done.append("goes on"))
    monkeypatch.setattr(widget.panel.session, "start", lambda *a: done.append("starts"))
    for button in (qt.QMessageBox.Cancel, qt.QMessageBox.Yes, qt.QMessageBox.No):
        slicer.app.recorded.answer = button
        click(ui.startButton)
        done.append(button)
    assert done == [qt.QMessageBox.Cancel, "goes on", qt.QMessageBox.Yes, "starts", qt.QMessageBox.No]
    assert [kind for kind, _ in slicer.app.recorded.messages] == ["ask"] * 3


def test_deleted_training_blocks_nothing(widget, ui, tmp_path: Path) -> None:
    study = tmp_path / "Studie"
    create(ui, study)
    end(study, "001")
    end(study, "002")
    widget.enter()
    wait(lambda: "Training 002 has" in ui.stateLabel.text)
    shutil.rmtree(study / "models" / "002")
    wait(lambda: "Training 001 has" in ui.stateLabel.text)
    assert str(folder(study, "002")) in ui.noticeLabel.text and "this training is gone" in ui.noticeLabel.text
    (folder(study, "001") / "job.json").unlink()
    wait(lambda: "being trained" not in ui.startButton.toolTip and widget.panel.session.job is None)
    widget.enter()  # its folder is still there
    assert widget.panel.session.job is None
    end(study, "001")
    widget.enter()
    wait(lambda: "Training 001 has" in ui.stateLabel.text)


def test_deleted_running_training_is_let_go(widget, ui, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    with begin(tmp_path / "Studie") as job:
        widget.enter()
        wait(lambda: "runs" in ui.stateLabel.text)
        job.update(state="finished")  # else the block would end with an update of what is gone
        shutil.rmtree(tmp_path / "Studie/models")
        wait(lambda: widget.panel.session.job is None)
        wait(lambda: not ui.stopButton.enabled)


def test_damaged_record_is_told_once_and_stops_nothing(widget, ui, tmp_path: Path) -> None:
    study = tmp_path / "Studie"
    create(ui, study)
    end(study)
    widget.enter()
    wait(lambda: "Training 001 has" in ui.stateLabel.text and not widget.panel.session.checking)
    (folder(study) / "job.json").write_text("{", encoding="utf-8")
    wait(lambda: "job.json" in ui.noticeLabel.text)
    widget.panel.session.say("Something else.")
    for _ in range(3):
        widget.panel.tick()
    assert ui.noticeLabel.text == "Something else."
    click(ui.addStructureButton)
    assert ui.structuresTable.rowCount == 1
    assert "job.json" in ui.noticeLabel.text
    (folder(study) / "job.json").unlink()
    wait(lambda: widget.panel.session.job is None)


def test_training_is_read_once_a_tick_and_no_more_after_its_end(widget, ui, tmp_path: Path, monkeypatch) -> None:
    study, session = tmp_path / "Studie", widget.panel.session
    create(ui, study)
    wait(lambda: not session.checking)
    reads, read = [], brbs.job.read_json
    monkeypatch.setattr(brbs.job, "read_json", lambda path, **options: reads.append(path) or read(path, **options))
    with begin(study) as job:
        widget.enter()
        wait(lambda: "runs" in ui.stateLabel.text)
        reads.clear()
        session.tick()
        assert len(reads) == 1
        job.event("losses", step=1, seconds=1.0, total=0.5)
    wait(lambda: "Training 001 has" in ui.stateLabel.text)
    for _ in range(3):
        widget.panel.tick()
    assert session.job.elapsedSeconds == 1.0
    reads.clear()
    for _ in range(5):
        session.tick()
    assert reads == []
    with begin(study):  # somebody goes on with it
        wait(lambda: "runs" in ui.stateLabel.text)


def test_log_grows_while_its_reader_stays_where_he_is(widget, ui, tmp_path: Path) -> None:
    import qt

    create(ui, tmp_path / "Studie")
    with begin(tmp_path / "Studie") as job:
        path = folder(tmp_path / "Studie") / LOG_FILE
        path.write_text("".join(f"step {step}\n" for step in range(300)), encoding="utf-8")
        widget.enter()
        ui.logGroup.collapsed = False
        wait(lambda: "step 299" in ui.logText.plainText)
        cursor, bar = ui.logText.textCursor(), ui.logText.verticalScrollBar()
        cursor.setPosition(3)
        cursor.setPosition(60, qt.QTextCursor.KeepAnchor)
        ui.logText.setTextCursor(cursor)
        bar.setValue(5)
        with path.open("a", encoding="utf-8") as log:
            log.write("step 300\n")
        job.update(progress=0.5)
        wait(lambda: "step 300" in ui.logText.plainText)
        cursor = ui.logText.textCursor()
        assert (bar.value, cursor.selectionStart(), cursor.selectionEnd()) == (5, 3, 60)


@pytest.fixture
def view(application):
    """A view of a log that is too long for it."""
    import qt

    from BRBSTrainingLib.LogView import LogView

    edit = qt.QPlainTextEdit()
    edit.resize(300, 100)
    edit.show()
    made = LogView(edit)
    made.show("\n".join(LINES))
    return made


LINES = [f"step {step} 🧠" for step in range(100)]


def test_end_of_a_log_stays_in_view(view) -> None:
    bar = view._edit.verticalScrollBar()
    assert 0 < bar.value == bar.maximum
    view.show("\n".join([*LINES, "10 %"]))
    view.show("\n".join([*LINES, "20 %", "more"]))
    assert view._edit.plainText == "\n".join([*LINES, "20 %", "more"])
    assert bar.value == bar.maximum


def test_long_log_loses_its_beginning_out_of_view(view) -> None:
    bar = view._edit.verticalScrollBar()
    bar.setValue(50)
    view.show("\n".join([*LINES[20:], "more"]))
    assert view._edit.plainText == "\n".join([*LINES[20:], "more"])
    assert bar.value == 30
    view.show("another")
    assert view._edit.plainText == "another"
    view.show("")
    assert view._edit.plainText == ""
