"""The answers of a check set as facts for a program and as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from kangshu.kernel.texts import Text
from kangshu.quality.checksets.errors import say
from kangshu.quality.checksets.loading import message_of
from kangshu.quality.checksets.model import CheckAnswer, Report, State

_STYLE = (
    "body{font:15px/1.6 system-ui,'Noto Sans CJK SC',sans-serif;max-width:80rem;"
    "margin:2rem auto;padding:0 1rem}h1 small,h2 small{font-weight:normal}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;margin-bottom:2rem}"
    "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}"
    "th{vertical-align:bottom;white-space:nowrap}th small{display:block;font-weight:normal}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td:first-child,td:nth-child(2){min-width:10rem;overflow-wrap:anywhere}"
    ".failed td:first-child{border-left:4px solid #b42318}"
    ".not-run td:first-child{border-left:4px solid #b54708}"
    "small{color:#555}.zero{color:#999}@media print{body{margin:0}thead{display:table-header-group}}"
)


def answer_facts(answer: CheckAnswer) -> dict[str, Any]:
    """Return one answer as a flat record without any value out of the tables."""
    check = answer.check
    message = message_of(check)
    return {
        "check": check.name,
        "level": check.kind.level,
        "dimension": str(check.kind.dimension),
        "table": check.table,
        "field": check.field,
        "parameters": dict(check.parameters),
        "violated": answer.violated,
        "denominator": answer.denominator,
        "share_percent": None if answer.share is None else round(100 * answer.share, 4),
        "threshold_percent": check.threshold,
        "state": str(answer.state),
        "message": message.zh,
        "message_en": message.en,
    }


def report_html(report: Report) -> str:
    """Return the report as one page: what failed, what was not run, then the totals by kind of check."""
    checkset = report.checkset
    title = say("report_title")
    counts = " · ".join(
        f"{escape(say(f'state_{state}').zh)} <small>{escape(say(f'state_{state}').en)}</small> "
        f"<b>{report.count(state):,}</b>"
        for state in State
    )
    return (
        f"<!doctype html><html lang=zh><meta charset=utf-8><title>{escape(title.zh)}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{_STYLE}</style><h1>{_both(title)}</h1>"
        f"<p>{escape(checkset.title.zh)} · {escape(checkset.edition)} · {escape(checkset.source)}"
        f"<p>{_both(say('tables'))} <b>{len(report.rows):,}</b> · {_both(say('rows'))} "
        f"<b>{sum(report.rows.values()):,}</b> · {_both(say('checks'))} <b>{len(report.answers):,}</b>"
        f"<p>{counts}<p>{_both(say('no_values'))}"
        f"{_listing(report, State.FAILED)}{_listing(report, State.NOT_RUN)}{_totals(report)}</html>"
    )


def _both(text: Text) -> str:
    return f"{escape(text.zh)} <small>{escape(text.en)}</small>"


def _table(headings: Sequence[tuple[Text, bool]], lines: str) -> str:
    heads = "".join(f"<th{' class=n' if number else ''}>{_both(text)}" for text, number in headings)
    return f"<div class=wide><table><thead><tr>{heads}</thead>{lines}</table></div>"


def _totals(report: Report) -> str:
    counts: dict[str, dict[State, int]] = {}
    titles: dict[str, Text] = {}
    for answer in report.answers:
        counts.setdefault(answer.check.name, dict.fromkeys(State, 0))[answer.state] += 1
        titles.setdefault(answer.check.name, answer.check.kind.title)
    lines = "".join(
        f"<tr><td>{_both(titles[name])}<br><small>{escape(name)}</small>"
        + "".join(_number(number) for number in (sum(own.values()), *own.values()))
        for name, own in counts.items()
    )
    headings = [(say("check"), False), (say("checks"), True)]
    headings += [(say(f"state_{state}"), True) for state in State]
    return f"<h2>{_both(say('by_kind'))}</h2>{_table(headings, lines)}"


def _listing(report: Report, state: State) -> str:
    chosen = [answer for answer in report.answers if answer.state is state]
    if not chosen:
        return ""
    lines = "".join(
        f"<tr class={state}><td>{escape(one.check.kind.title.zh)}<br><small>{escape(one.check.name)}</small>"
        f"<td>{escape(one.check.about)}{_number(one.violated)}{_number(one.denominator)}"
        f"<td class=n>{_percent(one)}<td class=n>{one.check.threshold:g}%<td>{_advice(one)}"
        for one in chosen
    )
    headings = [(say(key), key in _NUMBERS) for key in _COLUMNS]
    return f"<h2>{_both(say(f'state_{state}'))}</h2>{_table(headings, lines)}"


_COLUMNS = ("check", "about", "violated", "denominator", "share", "threshold", "advice")
_NUMBERS = ("violated", "denominator", "share", "threshold")


def _number(value: int) -> str:
    return f"<td class='n{'' if value else ' zero'}'>{value:,}"


def _advice(answer: CheckAnswer) -> str:
    message = message_of(answer.check)
    return f"{escape(message.zh)}<br><small>{escape(message.en)}</small>"


def _percent(answer: CheckAnswer) -> str:
    return "" if answer.share is None else f"{100 * answer.share:.2f}%"
