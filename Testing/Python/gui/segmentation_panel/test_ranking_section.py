"""Which scan to annotate next, through the panel's widgets."""

from __future__ import annotations

import json
from pathlib import Path

from panel_user import click, wait
from tiny_model import tiny_bundle
from training_nodes import addSubject

from brbs.model_description import model_identity
from brbs.ranking import RankedScan, Ranking


def rows(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def test_scans_are_ranked_and_the_first_is_annotated(widget, ui, model: Path) -> None:
    import BRBSTraining

    assert "Not ranked" in ui.rankLabel.text
    click(ui.rankButton)
    assert ui.rankButton.text == "Stop"
    wait(lambda: ui.rankButton.text == "Rank scans")
    assert "Annotate the first ones next" in ui.rankLabel.text, ui.rankLabel.text
    ranked = rows(ui.rankTable)
    assert sorted(row[0] for row in ranked) == ["scan 100.nii.gz", "scan 101.nii.gz"]
    assert float(ranked[0][1]) <= float(ranked[1][1])
    ui.rankTable.selectRow(0)
    click(ui.openRankedButton)
    wait(lambda: "Done" in ui.stateLabel.text)
    click(ui.addToStudyButton)
    study = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent).study
    assert len(study.atlases) == 2 and len(study.unlabeled) == 1
    assert [row[0] for row in rows(ui.rankTable)] == [ranked[1][0]]


def test_ranked_scan_waits_for_the_one_that_is_segmented(model: Path, request) -> None:
    import BRBSTraining

    study = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent)
    scans = tuple(RankedScan(scan, {"Kern": 0.5}) for scan in study.study.unlabeled)
    Ranking(model_identity(model), scans, waiting=0).save(study.folder / "ranking.json")
    widget, ui = request.getfixturevalue("widget"), request.getfixturevalue("ui")
    ui.rankTable.selectRow(0)
    assert ui.openRankedButton.enabled
    tip = ui.openRankedButton.toolTip
    ui.inputSelector.setCurrentNode(addSubject(3)[0])
    click(ui.applyButton)
    run = widget.panel._run
    assert not ui.openRankedButton.enabled and "being segmented" in ui.openRankedButton.toolTip
    widget.panel.guard(lambda: widget.panel._openRanked(scans[0].scan))
    assert widget.panel._run is run and "being segmented" in ui.noticeLabel.text
    click(ui.cancelButton)
    assert ui.openRankedButton.enabled and ui.openRankedButton.toolTip == tip


def test_ranking_of_another_model_is_not_shown(widget, ui, model: Path) -> None:
    content = {"format": 1, "model": "other", "waiting": 0, "scans": []}
    (model.parent.parent / "ranking.json").write_text(json.dumps(content), encoding="utf-8")
    widget.enter()
    click(ui.rankButton)
    click(ui.rankButton)  # stops
    assert "Not ranked" in ui.rankLabel.text or "not been looked at" in ui.rankLabel.text


def test_scans_of_the_same_shown_confidence_have_the_same_light(model: Path, request) -> None:
    import BRBSTraining

    study = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent)
    confidences = zip(study.study.unlabeled, (0.796, 0.804), strict=True)
    scans = tuple(RankedScan(scan, {"organ": value}) for scan, value in confidences)
    Ranking(model_identity(model), scans, waiting=0).save(study.folder / "ranking.json")
    table = request.getfixturevalue("ui").rankTable
    assert [row[1] for row in rows(table)] == ["0.80", "0.80"]
    assert len({table.item(row, 1).toolTip().splitlines()[0] for row in range(2)}) == 1


def test_ranking_tells_what_was_not_found(model: Path, request) -> None:
    import BRBSTraining

    study = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent)
    found = [{"Hülle": 0.7, "Kern": None}, {"Hülle": None, "Kern": None}]
    scans = tuple(RankedScan(scan, one) for scan, one in zip(study.study.unlabeled, found, strict=True))
    Ranking(model_identity(model), scans, waiting=0).save(study.folder / "ranking.json")
    table = request.getfixturevalue("ui").rankTable
    assert [row[1:] for row in rows(table)] == [["0.70", "0.70 Hülle"], ["not found", ""]]
    assert "Not found: Kern." in table.item(0, 1).toolTip()


def test_model_from_elsewhere_ranks_nothing(widget, ui, tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "fremd")
    widget.logic.addModel(tmp_path / "fremd")
    widget.enter()
    ui.modelSelector.setCurrentText("fremd")
    assert "not trained in a study" in ui.rankLabel.text and not ui.rankButton.enabled
