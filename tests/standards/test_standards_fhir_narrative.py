"""Narratives: what a page could run or load is found, what people write is not disturbed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards.fhir.model import Severity
from kangshu.standards.fhir.narrative import XHTML, check_div


def div(inner):
    return f'<div xmlns="{XHTML}">{inner}</div>'


@pytest.mark.parametrize(
    "inner",
    [
        "血糖 6.30",
        "&#160;",
        "a &lt; b &amp; c",
        '<p class="x" style="color: red" title="t">text</p>',
        '<table border="1"><caption>x</caption><tbody><tr><td colspan="2">1</td></tr></tbody></table>',
        '<a href="http://example.org/x">x</a>',
        '<a href="#part" name="part">x</a>',
        '<a href="Patient/1">x</a>',
        '<img src="#contained" alt="x"/>',
        '<img src="data:image/png;base64,AAAA" alt="x"/>',
        '<span xml:lang="zh-CN" lang="zh-CN">x</span>',
        "<!-- a comment -->x",
        "<h1>x</h1><hr/><blockquote>y</blockquote><ul><li>z</li></ul>",
    ],
)
def test_what_people_write_is_good(inner):
    assert check_div(div(inner)) is None


@pytest.mark.parametrize(
    ("inner", "key"),
    [
        ("<script>x</script>", "narrative_element"),
        ("<SCRIPT>x</SCRIPT>", "narrative_element"),
        ("<iframe src='http://example.org'/>x", "narrative_element"),
        ("<form>x</form>", "narrative_element"),
        ("<object data='x'/>x", "narrative_element"),
        ("<style>p {}</style>x", "narrative_element"),
        ("<link rel='stylesheet' href='x'/>x", "narrative_element"),
        ("<base href='http://example.org'/>x", "narrative_element"),
        ("<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>x", "narrative_element"),
        ("<math xmlns='http://www.w3.org/1998/Math/MathML'/>x", "narrative_element"),
        ("<?php x?>x", "narrative_element"),
        ("<p onclick='x'>x</p>", "narrative_attribute"),
        ("<tr idref='x'>x</tr>", "narrative_attribute"),
        ("<p xlink:href='x' xmlns:xlink='http://www.w3.org/1999/xlink'>x</p>", "narrative_attribute"),
        ("<a href='javascript:x'>x</a>", "narrative_runs"),
        ("<a href=' JavaScript:x'>x</a>", "narrative_runs"),
        ("<a href='java&#9;script:x'>x</a>", "narrative_runs"),
        ("<a href='&#1114109;vbscript:x'>x</a>", None),
        ("<a href='vbscript:x'>x</a>", "narrative_runs"),
        ("<a href='data:text/html,x'>x</a>", "narrative_runs"),
        ("<img src='data:text/html,x'/>", "narrative_runs"),
        ("<img src='data:image/svg+xml,x'/>", "narrative_runs"),
        ("<p style='width: expression(x)'>x</p>", "narrative_runs"),
        ("<p style='background: url(javascript:x)'>x</p>", "narrative_runs"),
        # What an HTML page reads otherwise than XML does.
        ("<!--><script>x</script>-->x", "narrative_runs"),
        ("<!---><script>x</script>-->x", "narrative_runs"),
        ("<!-- --!><script>x</script>-->x", "narrative_not_xhtml"),
        ("<![CDATA[><script>x</script>]]>x", "narrative_runs"),
        ("&nbsp;", "narrative_not_xhtml"),
        ("<p>x", "narrative_not_xhtml"),
        ("<p a=1>x</p>", "narrative_not_xhtml"),
        ("", "rule"),
        (" \n\t ", "rule"),
        ("<p/><br/>", "rule"),
    ],
)
def test_what_runs_or_is_no_xhtml_is_an_error(inner, key):
    found = check_div(div(inner))

    assert [one.key for one in found or ()] == ([key] if key else [])
    assert all(one.severity is Severity.ERROR for one in found or ())


@pytest.mark.parametrize(
    "inner",
    [
        "<img src='http://example.org/x.png'/>",
        "<img src='//example.org/x.png'/>",
        "<p style='background: url(http://example.org/x.png)'>x</p>",
        "<p style='@import \"http://example.org/x.css\"'>x</p>",
    ],
)
def test_what_would_be_loaded_from_elsewhere_is_a_warning(inner):
    assert [(one.key, one.severity) for one in check_div(div(inner)) or ()] == [
        ("narrative_elsewhere", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("text", "narrative_not_xhtml"),
        ("<p>x</p>", "narrative_not_xhtml"),
        ("<div>x</div>", "narrative_namespace"),
        ("<div xmlns='http://hl7.org/fhir'>x</div>", "narrative_namespace"),
        (f'<!DOCTYPE div [<!ENTITY a "b">]><div xmlns="{XHTML}">&a;</div>', "narrative_not_xhtml"),
        (f'<?xml version="1.0"?><div xmlns="{XHTML}">x</div>', "narrative_not_xhtml"),
        (f'<divide xmlns="{XHTML}">x</divide>', "narrative_namespace"),
        (div("x") + "<script/>", "narrative_not_xhtml"),
        (17, "wrong_type"),
        ("", "wrong_type"),
    ],
)
def test_a_narrative_is_one_div_of_xhtml(text, key):
    assert [one.key for one in check_div(text) or ()] == [key]


def test_the_same_fault_is_told_once():
    assert len(check_div(div("<p onclick='x'>x</p>" * 1_000)) or ()) == 1


def test_many_faults_are_bounded():
    assert len(check_div(div("".join(f"<x{number}/>" for number in range(5_000)))) or ()) == 100


def test_a_narrative_of_a_hundred_thousand_levels_ends_with_an_answer():
    assert check_div(div("<b>" * 100_000 + "x" + "</b>" * 100_000)) is None


@given(inner=st.text(max_size=40) | st.text("<>/!-[]'\"&;=abdivscript ", max_size=40))
def test_any_text_gets_an_answer(inner):
    check_div(div(inner))
