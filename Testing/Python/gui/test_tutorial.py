"""The tutorial's way through both panels, as its pictures are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tutorial_tour import TutorialTour

PICTURES = Path(__file__).resolve().parents[3] / "Resources/Screenshots"


@pytest.mark.slow
def test_tutorial_can_be_followed_and_shows_all_its_pictures(application, tmp_path: Path) -> None:
    taken = []
    tour = TutorialTour(lambda panel, name: taken.append(name), tmp_path)
    try:
        tour.run()
    finally:
        tour.close()
    assert sorted(taken) == sorted(path.name for path in PICTURES.glob("tutorial-*.png"))
