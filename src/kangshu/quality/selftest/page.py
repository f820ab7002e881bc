"""The report as one page without anything from elsewhere: it can be mailed, printed and kept."""

from __future__ import annotations

from html import escape

from kangshu.kernel.texts import Text, load_catalogue
from kangshu.quality.scoring import AssessedFinding
from kangshu.quality.selftest.testing import SelfTest

say = load_catalogue(__package__ or __name__)

_STYLE = """
:root{--ink:#16202b;--soft:#53606e;--line:#d8dee5;--bad:#b42318;--warn:#93580a;--good:#0d6b4f}
body{font:15px/1.6 system-ui,'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;color:var(--ink);
max-width:72rem;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}
.lead,small{color:var(--soft)}small{display:block;font-size:.85em}
dl{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1rem 0}dt{color:var(--soft);font-size:.85em}
dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums}.word{font-size:1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.45rem .6rem;vertical-align:top;
border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--soft);font-size:.85em}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.error td:first-child{border-left:4px solid var(--bad)}
.warning td:first-child{border-left:4px solid var(--warn)}
.scroll{overflow-x:auto}.at{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
@media print{body{margin:0;max-width:none}.scroll{overflow:visible}tr{break-inside:avoid}}
"""


def report_html(test: SelfTest) -> str:
    """Return the report as HTML, Chinese first and English beside it."""
    title = say("title", dataset=test.dataset.title.zh)
    return (
        "<!doctype html><html lang=zh><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title.zh)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title.zh)}</h1><p class=lead>{_both(say['lead'])}</p>"
        f"{_facts(test)}{_dimensions(test)}{_findings(test)}</body></html>\n"
    )


def _facts(test: SelfTest) -> str:
    report = test.assessment
    total = report.score.total
    facts = [
        ("total", "—" if total is None else f"{total:.2f}", ""),
        ("rows", f"{report.rows:,}", ""),
        ("accepted", f"{report.accepted:,}", ""),
        ("rejected", f"{report.rejected:,}", ""),
        ("file", test.file, "word"),
        ("edition", report.dataset.edition, "word"),
    ]
    cells = "".join(
        f"<div><dt>{_inline(say[key])}</dt><dd class='{kind}'>{escape(value)}</dd></div>"
        for key, value, kind in facts
    )
    columns = "、".join(map(str, test.unknown))
    unknown = f"<p>{_both(say('unknown', columns=columns))}</p>" if test.unknown else ""
    return f"<dl>{cells}</dl>{unknown}"


def _dimensions(test: SelfTest) -> str:
    report = test.assessment
    rows = [
        f"<tr><td>{_inline(say[f'dimension_{dimension.value}'])}<td class=n>{value:.2f}"
        for dimension, value in report.score.by_dimension.items()
    ]
    rows += [
        f"<tr><td>{_inline(_sheet(sheet.scoring.title))}<td class=n>{sheet.count.mean:.2f}"
        for sheet in report.sheets
        if sheet.count.mean is not None
    ]
    return f"<h2>{_inline(say['dimensions'])}</h2><table>{''.join(rows)}</table>" if rows else ""


def _sheet(title: Text) -> Text:
    return Text(
        zh=say("sheet", title=title.zh).zh,
        en=say("sheet", title=title.en).en,
    )


def _findings(test: SelfTest) -> str:
    findings = test.assessment.findings
    head = f"<h2>{_inline(say['findings'])}</h2>"
    if not findings:
        return f"{head}<p>{_both(say['nothing'])}</p>"
    names = ("points", "rows", "check", "fields", "remedy", "places")
    numbers = ("points", "rows")
    titles = "".join(
        f"<th{' class=n' if name in numbers else ''} scope=col>{_both(say[name])}</th>" for name in names
    )
    return (
        f"{head}<div class=scroll><table><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(_row(finding) for finding in findings)}</tbody></table></div>"
    )


def _row(finding: AssessedFinding) -> str:
    at = ", ".join(map(str, finding.first_rows))
    more = " …" if finding.rows > len(finding.first_rows) else ""
    severity = say[f"severity_{finding.severity.value}"]
    return (
        f"<tr class={finding.severity.value}><td class=n>{finding.points:.2f}<td class=n>{finding.rows:,}"
        f"<td>{escape(finding.rule)}<small>{_inline(severity)}</small><td>{_both(finding.title)}"
        f"<td>{_both(finding.message)}<td class=at>{at}{more}"
    )


def _both(text: Text) -> str:
    return f"{escape(text.zh)}<small lang=en>{escape(text.en)}</small>"


def _inline(text: Text) -> str:
    return f"{escape(text.zh)} <span class=lead lang=en>{escape(text.en)}</span>"
