"""Texts, templates, style and script: complete, readable, and without anything from elsewhere."""

from __future__ import annotations

import re
from importlib import resources
from itertools import product

import pytest

from kangshu.console import acts
from kangshu.console.rendering import say
from kangshu.declarations import CellView, Dimension, FieldType, Obligation, Privacy, Scope, Severity
from kangshu.healthcard import EventKind, Refusal, Status
from kangshu.intake import FileState
from kangshu.intake.messages import BODY_READ, REPLAY, MessageFormat, MessageState
from kangshu.quality.catalogue import Lane, UseKind
from kangshu.quality.coverage import Basis, CoverageState
from kangshu.quality.reconciling import Partner, State
from kangshu.quality.rectifying import TOPICS

CONSOLE = resources.files("kangshu.console")
TEMPLATES = {entry.name: entry.read_text() for entry in CONSOLE.joinpath("templates").iterdir()}
STYLE = CONSOLE.joinpath("static", "console.css").read_text()
SCRIPT = CONSOLE.joinpath("static", "console.js").read_text()
SOURCES = "\n".join(
    [entry.read_text() for entry in CONSOLE.iterdir() if entry.name.endswith(".py")]
    + [entry.read_text() for entry in CONSOLE.joinpath("pages").iterdir() if entry.name.endswith(".py")]
)
MADE_UP = (
    [f"state.{state}" for state in FileState]
    + [f"severity.{severity}" for severity in Severity]
    + [f"type.{type_}" for type_ in FieldType]
    + [f"obligation.{obligation}" for obligation in Obligation]
    + [f"privacy.{privacy}" for privacy in Privacy if privacy is not Privacy.NONE]
    + [f"dimension.{dimension}" for dimension in Dimension]
    + [f"scope.{scope}" for scope in Scope]
    + [f"action.{action}" for action in (*acts.ACTIONS, BODY_READ, REPLAY)]
    + [f"message_state.{state}" for state in MessageState]
    + [f"notices.{topic}" for topic in TOPICS]
    + [f"message_format.{one}" for one in MessageFormat]
    + [f"balance_state.{state}" for state in State]
    + [f"partner.{partner}" for partner in Partner]
    + [f"lane.{lane}" for lane in Lane]
    + [f"use.{kind}" for kind in UseKind]
    + [f"coverage_state.{state}" for state in CoverageState]
    + [f"coverage_short.{state}" for state in CoverageState]
    + [f"coverage_basis.{basis}" for basis in Basis]
    + [f"cell_view.{view}" for view in CellView]
    + [f"cards.refusal_{one.value.replace('-', '_')}" for one in Refusal]
    + [f"card_window.event_{one.value.replace('-', '_')}" for one in EventKind]
    + [f"card_window.status_{one.value}" for one in Status]
    + [f"message.says_{state}" for state in ("accepted", "refused", "conflict", "superseded")]
)
FAMILIES = (
    "check.",
    "category.",
    "export.",
    "identifier.",
    "outcome.",
    "place.",
    "reach.",
    "review.",
    "action.",
)
FAMILIES += ("open.about.", "receipt.says_", "message.says_", "message_state.", "message_format.", "channel.")
FAMILIES += ("cards.tile_", "card_check.check_", "card_check.mistake_", "card_check.refused_")


def test_every_text_that_a_page_names_is_in_the_catalogue():
    named = set(re.findall(r"""\bt\(\s*["']([a-z_.]+)["']\s*[,)]""", "\n".join(TEMPLATES.values())))
    named |= set(re.findall(r"""say\(\s*"([a-z_.]+)"\s*[,)]""", SOURCES))
    named |= set(re.findall(r"""say\["([a-z_.]+)"\]""", SOURCES))

    assert sorted(named - set(say)) == []
    assert sorted(set(MADE_UP) - set(say)) == []


def test_no_text_is_left_over():
    written = "\n".join([*TEMPLATES.values(), SOURCES])
    unused = [
        key
        for key in say
        if f'"{key}"' not in written
        and f"'{key}'" not in written
        and key not in MADE_UP
        and not key.startswith(FAMILIES)
    ]

    assert unused == []


@pytest.mark.parametrize("key", list(say))
def test_both_languages_have_the_same_places(key: str):
    places = r"\{(\w+)\}"

    assert say[key].zh.strip()
    assert say[key].en.strip()
    assert sorted(re.findall(places, say[key].zh)) == sorted(re.findall(places, say[key].en))


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_keep_to_the_content_security_policy(name: str):
    template = TEMPLATES[name]

    assert not re.search(r"\sstyle\s*=", template), "inline style"
    assert not re.search(r"\son[a-z]+\s*=", template), "inline script"
    assert not re.search(r"<script(?![^>]*\bsrc=)", template), "inline script"
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']\s*(?:https?:)?//""", template), "another site"
    assert "<style" not in template


def test_style_and_script_ask_no_other_site_for_anything():
    for source in (STYLE, SCRIPT):
        assert "http:" not in source
        assert "https:" not in source
        assert "@import" not in source
        assert "url(" not in source
    assert "innerHTML" not in SCRIPT
    assert "eval" not in SCRIPT


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"_parts.html"}))
def test_fields_have_labels_and_tables_have_captions_or_a_heading(name: str):
    template = TEMPLATES[name]

    fields = set(re.findall(r'<(?:input|select|textarea)[^>]*\bid="([a-z_-]+)"', template))
    labelled = set(re.findall(r'<label[^>]*\bfor="([a-z_-]+)"', template))
    assert fields <= labelled
    for table in re.findall(r"<table.*?</table>", template, re.S):
        assert "<caption" in table or "no-caption" in table or name == "sign_in.html"
        assert "<thead" in table


TOKEN = re.compile(r"--([a-z0-9-]+):\s*(#[0-9a-f]{3,6});")
LIGHT = dict(TOKEN.findall(STYLE.split("@media")[0]))
DARK = {
    **LIGHT,
    **dict(TOKEN.findall(STYLE.split("@media (prefers-color-scheme: dark)")[1].split("@media")[0])),
}
GROUNDS = ("surface", "surface-2", "paper")
INKS = ("ink", "ink-2", "ink-3", "link", "link-hover")
PAIRS = [
    *product(INKS, GROUNDS),
    *((tone, f"{tone}-soft") for tone in ("ok", "warn", "bad", "info", "calm")),
    *((tone, "surface") for tone in ("ok", "warn", "bad", "info")),
    *(("ink", f"{tone}-soft") for tone in ("ok", "warn", "bad", "info", "accent")),
    *(("ink", f"heat-{step}") for step in range(1, 6)),
    ("brand-ink", "brand"),
    ("brand-ink-2", "brand"),
    ("ink-2", "surface-3"),
    ("ink-3", "heat-0"),
]


@pytest.mark.parametrize(("ink", "ground"), PAIRS)
@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(sheet: dict[str, str], ink: str, ground: str):
    assert _contrast(sheet[ink], sheet[ground]) >= 4.5


@pytest.mark.parametrize("mark", ["control", "focus", "accent", "chart-1", "chart-2"])
@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
def test_borders_and_marks_stand_out_from_the_sheet(sheet: dict[str, str], mark: str):
    assert _contrast(sheet[mark], sheet["surface"]) >= 3


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
