"""The house: others enter a package by its front door, and every package has both languages."""

import string
import tomllib
from pathlib import Path

import grimp
import pytest

import kangshu

ROOT = Path(kangshu.__file__).parent
# Their modules are the API; see ARCHITECTURE in the contracts of pyproject.toml.
OPEN_HOUSES = {"kernel", "standards", "storage", "security", "app"}
# A use that needs one room only, named with its reason.
SIDE_DOORS = {
    "kangshu.identity.linkage": "linking any table of persons needs no index and no database",
    "kangshu.intake.messages": "the message lane has its own front door beside the bulk lane's",
    "kangshu.mapping.hl7v2": "each language has a mapping of its own, and nobody needs all of them",
    "kangshu.mapping.cda": "as for hl7v2",
    "kangshu.mapping.rows": "as for hl7v2",
    "kangshu.api.mllp": "a door without the web framework, which the others load",
    "kangshu.declarations.reference": "writing the reference pages is the command line's business alone",
    **{
        f"kangshu.quality.{room}": "the quality engine has a room, with a door of its own, for each step"
        for room in (
            "catalogue",
            "checksets",
            "circular",
            "coverage",
            "plausibility",
            "reconciling",
            "rectifying",
            "scanning",
            "scoring",
            "selftest",
            "trying",
        )
    },
    "kangshu.intake.template": "writing workbooks loads XlsxWriter, which taking files in does not need",
}

CATALOGUES = sorted(ROOT.rglob("texts.toml"))


def test_others_enter_a_package_by_its_front_door():
    graph = grimp.build_graph("kangshu", cache_dir=None)

    trespasses = [
        f"{importer} imports {imported}"
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if _is_trespass(importer, imported)
    ]

    assert trespasses == []


def _is_trespass(importer: str, imported: str) -> bool:
    parts = imported.split(".")
    if len(parts) < 3 or parts[1] in OPEN_HOUSES or imported in SIDE_DOORS:
        return False
    if parts[1] == "standards":
        return False
    return importer.split(".")[1:2] != [parts[1]]


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.name)
def test_every_text_is_there_in_both_languages_with_the_same_places(path: Path):
    entries = tomllib.loads(path.read_text(encoding="utf-8"))

    for key, entry in entries.items():
        assert set(entry) == {"zh", "en"}, key
        assert entry["zh"].strip(), key
        assert entry["en"].strip(), key
        # A title may stand in its own language in each text.
        assert {name.removesuffix("_en") for name in _places(entry["zh"])} == {
            name.removesuffix("_en") for name in _places(entry["en"])
        }, key


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
