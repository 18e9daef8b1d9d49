"""What Slicer's extension catalogue asks for, and that the documentation says what panels and commands really have."""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.__main__ import parser
from brbs.settings import PRESETS, Settings

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *sorted((ROOT / "Resources/Documentation").glob("*.md"))]
MODULES = ("BRBSTraining", "BRBSSegmentation")
ICONS = ["Resources/Icons/BRBS.png", *(f"{module}/Resources/Icons/{module}.png" for module in MODULES)]
LARGEST_TUTORIAL_PICTURE = 150 * 1024  # bytes
# Emphasised in the pages, but no text of a panel: words, and sample data.
OTHER_WORDS = {"atlases", "like this", "Help", "About", "BRBSTinyStudy", "BRBSTinyScans"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without code blocks and code words."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text(page), flags=re.DOTALL | re.MULTILINE))


def metadata(name: str) -> str:
    return re.search(rf'set\({name} "?(.*?)"?\)', text(ROOT / "CMakeLists.txt"))[1]


def options(command: argparse.ArgumentParser) -> set[str]:
    return {option for action in command._actions for option in action.option_strings}


@cache
def commands() -> dict[str, argparse.ArgumentParser]:
    return next(action.choices for action in parser()._actions if isinstance(action.choices, dict))


def form_texts() -> list[str]:
    forms = (ROOT / f"{module}/Resources/UI/{module}.ui" for module in MODULES)
    return [node.text for form in forms for node in ElementTree.parse(form).iter("string") if node.text]


def strings(path: Path) -> list[str]:
    """The constant texts of a Python file."""
    nodes = ast.walk(ast.parse(text(path)))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def translated(path: Path) -> list[str]:
    """The texts of a Python file that people are shown: what it hands to ``_``."""
    calls = [node for node in ast.walk(ast.parse(text(path))) if isinstance(node, ast.Call)]
    handed = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "_" and call.args]
    return [node.value for node in handed if isinstance(node, ast.Constant)]


def words(shown: str) -> str:
    """A text of a panel as the pages quote it: without a section's number, and what follows a colon."""
    return re.sub(r"^\d\. ", "", shown).partition(":")[0].removesuffix("…").strip()


@cache
def shown_words() -> set[str]:
    """All texts of the forms and of the modules' code, and the values that settings can be chosen from."""
    found = form_texts()
    for module in MODULES:
        found += [shown for path in (ROOT / module).rglob("*.py") for shown in translated(path)]
    choices = [choice for item in fields(Settings) for choice in item.metadata["choices"] or ()]
    return {words(shown) for shown in [*found, *PRESETS, *choices]}


# ---- links, pictures, icons


@each_page
def test_links_and_pictures_exist(page: Path) -> None:
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page)) + re.findall(r'src="([^"]+)"', prose(page))
    local = [unquote(link.partition("#")[0]) for link in found if not re.match(r"https?://|#", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_page_is_found_from_the_readme() -> None:
    linked = "".join(map(text, PAGES))
    assert [page.name for page in PAGES[1:] if f"{page.name})" not in linked] == []


def test_pictures_of_the_tutorial_are_shown_and_small() -> None:
    pictures = sorted((ROOT / "Resources/Screenshots").glob("tutorial-*.png"))
    shown = re.findall(r"Screenshots/(tutorial-[a-z]+\.png)", text(ROOT / "Resources/Documentation/clinician.md"))
    assert sorted(shown) == [picture.name for picture in pictures]
    assert max(picture.stat().st_size for picture in pictures) < LARGEST_TUTORIAL_PICTURE


@pytest.mark.parametrize("icon", ICONS)
def test_icon_has_the_catalogues_size(icon: str) -> None:
    image = sitk.ReadImage(str(ROOT / icon))
    assert image.GetSize() == (128, 128) and image.GetNumberOfComponentsPerPixel() == 4  # with transparency


def test_icons_are_told_apart_when_small() -> None:
    icons = [sitk.GetArrayFromImage(sitk.ReadImage(str(ROOT / icon))).astype(float) for icon in ICONS]
    small = [icon.reshape(16, 8, 16, 8, 4).mean((1, 3)) for icon in icons]
    apart = [np.abs(one - other)[13, 8, :3].max() for one, other in itertools.combinations(small, 2)]
    assert min(apart) > 32


# ---- metadata


def test_extension_describes_itself() -> None:
    description = metadata("EXTENSION_DESCRIPTION")
    assert 50 < len(description) < 300 and description.count(". ") < 2
    assert {"annotated", "segment"} <= set(re.findall(r"\w+", description.lower()))
    assert metadata("EXTENSION_CONTRIBUTORS") and metadata("EXTENSION_HOMEPAGE").startswith("https://")
    assert not re.search(r"project\(Slicer", text(ROOT / "CMakeLists.txt"))


def test_every_module_is_built_and_described() -> None:
    for module in MODULES:
        assert f"add_subdirectory({module})" in text(ROOT / "CMakeLists.txt")
        title = re.search(r'parent\.title = _\("(.+?)"\)', text(ROOT / module / f"{module}.py"))[1]
        assert f"**{title}**" in text(ROOT / "README.md")


def test_licence_is_named_and_the_article_cited() -> None:
    assert "Apache License" in text(ROOT / "LICENSE") and "[LICENSE](LICENSE)" in text(ROOT / "README.md")
    assert "doi.org/10.1109/TNNLS.2022.3190452" in text(ROOT / "README.md")


# ---- texts are understood


@pytest.mark.parametrize("abbreviation, meaning", [
    ("BRBS", "Better Registration Better Segmentation"),
    ("S3P", "space-style sampling program"),
    ("KCC", "knowledge consistency constraint"),
    ("MMR", "mix misalignment regularisation"),
])  # fmt: skip
def test_the_methods_abbreviations_are_spelled_out_in_the_panels(abbreviation: str, meaning: str) -> None:
    helps = [shown for module in MODULES for shown in strings(ROOT / module / f"{module}.py")]
    assert [shown for shown in [*form_texts(), *helps] if abbreviation in shown and meaning in shown]


# ---- the pages say what is there


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    calls = re.findall(r"(?:^|`|\s|/)brbs ([a-z][a-z-]*)((?: [^\n`|]*)?)", text(page), re.MULTILINE)
    for name, rest in calls:
        if name in commands():
            unknown = set(re.findall(r"(?<=\s)--[a-z-]+", rest)) - options(commands()[name])
            assert not unknown, f"brbs {name}: {unknown}"
        else:
            assert not re.search(rf"(`|^|bin/)brbs {name}", text(page), re.MULTILINE), f"no command {name}"


def test_every_command_is_in_the_readme() -> None:
    assert [name for name in commands() if f"`brbs {name}" not in text(ROOT / "README.md")] == []


@each_page
def test_quoted_texts_are_those_of_the_panels(page: Path) -> None:
    quoted = re.findall(r"(?<![*\w])\*([^*]+?)\*(?!\*)", prose(page).replace("\n", " "))
    assert [each for each in quoted if each not in OTHER_WORDS and words(each) not in shown_words()] == []
