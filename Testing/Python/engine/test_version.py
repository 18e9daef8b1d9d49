"""The version is told in one place; what has to repeat it repeats it rightly."""

from __future__ import annotations

import re
from pathlib import Path

import brbs

ROOT = Path(__file__).resolve().parents[3]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_package_takes_the_engines_version() -> None:
    assert 'version = { attr = "brbs.__version__" }' in read("pyproject.toml")
    assert not re.search(r'^version = "', read("pyproject.toml"), re.MULTILINE)


def test_citation_names_this_version() -> None:
    assert re.findall(r"^version: (.+)$", read("CITATION.cff"), re.MULTILINE) == [brbs.__version__]


def test_changelog_begins_with_this_version() -> None:
    assert (
        re.findall(r"^## \[(.+?)\]", read("Resources/Documentation/changelog.md"), re.MULTILINE)[0] == brbs.__version__
    )


def test_extension_tells_no_version_of_its_own() -> None:
    assert not re.search(
        r"project\(BRBS .*VERSION|EXTENSION_VERSION|" + re.escape(brbs.__version__), read("CMakeLists.txt")
    )


def test_citation_and_readme_cite_the_same_article() -> None:
    doi = re.search(r"^  doi: (\S+)$", read("CITATION.cff"), re.MULTILINE)[1]
    assert f"https://doi.org/{doi}" in read("README.md")
