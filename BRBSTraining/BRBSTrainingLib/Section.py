"""What the sections of the panels have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .StudySession import StudySession

Guard = Callable[[Callable[[], object]], None]


def onClick(actions: Mapping[object, Callable[[], object]], guard: Guard) -> None:
    """Connects buttons with what they do.

    Args:
        actions: what each button does.
        guard: runs a function and shows what is wrong with its input.
    """
    for button, action in actions.items():
        button.connect("clicked(bool)", lambda checked, action=action: guard(action))


class Section:
    """A part of the training panel.

    Args:
        ui: the panel's widgets.
        session: the panel's state.
        guard: runs a function and shows what is wrong with its input.
    """

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        self._ui, self._session, self._guard = ui, session, guard

    def update(self) -> None:
        """Shows the session as it is now."""
        raise NotImplementedError
