"""The inspector's lists: model, atlas, style scan and space scan."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .InspectorChoices import atlasChoices, modelChoices, spaceChoices, styleChoices
from .InspectorRun import InspectorRequest
from .StudyFolder import StudyFolder


class InspectorChooser:
    """Offers what a study has to be inspected.

    Args:
        ui: the panel's widgets.
        changed: called when another choice has been made.
    """

    def __init__(self, ui, changed: Callable[[], object]) -> None:
        self._model, self._atlas = ui.inspectorModelCombo, ui.inspectorAtlasCombo
        self._style, self._space = ui.styleCombo, ui.spaceCombo
        self._changed = changed
        self._study: StudyFolder | None = None
        self._lists: dict[str, list] = {}
        self._model.connect("currentIndexChanged(int)", lambda index: self._modelChosen())
        for combo in (self._atlas, self._style, self._space):
            combo.connect("currentIndexChanged(int)", lambda index: changed())

    def show(self, study: StudyFolder | None) -> None:
        """Offers what the study has now; None: nothing."""
        self._study = study
        self._list(self._model, modelChoices(study) if study else [])
        self._list(self._style, styleChoices(study) if study else [])
        self._list(self._space, spaceChoices(study) if study else [], first=1)  # not the style scan, too
        self._listAtlases()

    @property
    def blocker(self) -> str | None:
        """What is missing, for people; None: nothing."""
        if self._study is None:
            return _("Create or open a study first.")
        missing = {
            self._model: _("Train first: there is no model and no checkpoint in this study yet."),
            self._atlas: _("The model names no atlases; train it with BRBS."),
            self._style: _("Add an unlabeled scan, whose style can be taken."),
        }
        return next((text for combo, text in missing.items() if self._chosen(combo) is None), None)

    def request(self, device: str) -> InspectorRequest:
        """What to generate, where nothing is missing."""
        model, space = self._chosen(self._model), self._chosen(self._space)
        return InspectorRequest(
            model=model.folder,
            atlas=self._chosen(self._atlas),
            style=self._chosen(self._style).image,
            space=space.image,
            spaceLabels=space.labels,
            study=self._study.folder,
            checkpoint=model.checkpoint,
            device=device,
        )

    def _modelChosen(self) -> None:
        self._listAtlases()
        self._changed()

    def _listAtlases(self) -> None:
        model = self._chosen(self._model)
        self._list(self._atlas, atlasChoices(self._study, model) if model else [])

    def _list(self, combo, choices: list, first: int = 0) -> None:
        """Offers choices; the chosen one stays where it is still there, else that of index ``first`` is."""
        if self._lists.get(combo.objectName) == choices:
            return
        before = self._chosen(combo)
        self._lists[combo.objectName] = choices
        combo.blockSignals(True)
        combo.clear()
        combo.addItems([getattr(choice, "name", choice) for choice in choices])
        combo.setCurrentIndex(choices.index(before) if before in choices else min(first, len(choices) - 1))
        combo.blockSignals(False)

    def _chosen(self, combo):
        choices, index = self._lists.get(combo.objectName, []), combo.currentIndex
        return choices[index] if 0 <= index < len(choices) else None
