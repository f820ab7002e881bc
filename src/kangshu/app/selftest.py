"""The check that an institution runs at home: the same statements as the platform's, nothing stored."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from kangshu.declarations import Dataset, Dimension, Pack
from kangshu.intake import CheckEngine, FileCheck, compile_plan, reason_text, recognise
from kangshu.standards.tables import open_table

_FIRST_ROWS = 10  # so many row numbers a finding names
_FIELD_DIMENSIONS = {"required": Dimension.COMPLETENESS}


def check_file(
    *, path: Path, dataset: Dataset, pack: Pack, received_at: datetime | None = None
) -> dict[str, Any]:
    """Return what the platform would find in the file: counts, findings by rule and field, scores.

    A score is the share of rows without an error of that dimension, in per cent.

    Raises:
        TableError: the file cannot be read.
        FileRejectedError: its headings do not fit the data set.
    """
    counts: Counter[tuple[str, str]] = Counter()
    first: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    faulty: defaultdict[str, set[int]] = defaultdict(set)
    warned: Counter[str] = Counter()
    accepted = rejected = 0
    engine = CheckEngine(pack=pack)
    with tempfile.TemporaryDirectory() as scratch, open_table(path, scratch=Path(scratch)) as reader:
        recognition = recognise(
            headings=reader.headings, pack=pack, dataset=dataset.name, file_name=path.name
        )
        check = FileCheck(
            engine=engine,
            plan=compile_plan(recognition=recognition, pack=pack, allowed=None),
            received_at=received_at,
        )
        for batch in reader.batches():
            checked = check.check(batch)
            accepted += checked.good.num_rows
            rejected += checked.rejected
            warned.update(checked.warned)
            for failure in checked.failures:
                key = (failure.code, failure.field)
                counts[key] += 1
                faulty[_dimension(dataset, failure.code)].add(failure.row)
                if len(first[key]) < _FIRST_ROWS:
                    first[key].append(failure.row)
    engine.close()
    rows = accepted + rejected
    findings = [
        _finding(dataset, code, field, "error", number, first[code, field])
        for (code, field), number in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]
    findings += [
        _finding(dataset, code, "", "warning", number, [])
        for code, number in sorted(warned.items(), key=lambda one: (-one[1], one[0]))
    ]
    return {
        "file": path.name,
        "dataset": dataset.name,
        "edition": dataset.edition,
        "rows": rows,
        "accepted": accepted,
        "rejected": rejected,
        "unknown_columns": [position + 1 for position in recognition.unknown],
        "findings": findings,
        "scores": _scores(rows, rejected, faulty),
    }


def _finding(
    dataset: Dataset, code: str, field: str, severity: str, rows: int, first: list[int]
) -> dict[str, Any]:
    text = reason_text(rule=code, field=field, dataset=dataset)
    title = dataset.field(field).title.zh if field else ""
    return {
        "rule": code,
        "field": field,
        "title": title,
        "severity": severity,
        "dimension": _dimension(dataset, code),
        "rows": rows,
        "message": text.zh,
        "message_en": text.en,
        "first_rows": ", ".join(map(str, first)),
    }


def _dimension(dataset: Dataset, code: str) -> str:
    for rule in dataset.rules:
        if rule.id == code:
            return str(rule.dimension)
    return str(_FIELD_DIMENSIONS.get(code, Dimension.VALIDITY))


def _scores(rows: int, rejected: int, faulty: dict[str, set[int]]) -> dict[str, float | None]:
    if not rows:
        return {"total": None}
    scores = {name: round(100 * (1 - len(hit) / rows), 2) for name, hit in sorted(faulty.items())}
    return {"total": round(100 * (1 - rejected / rows), 2), **scores}


def report_html(report: dict[str, Any], *, dataset: Dataset) -> str:
    """Return the findings as one self-contained page that can be mailed to a vendor."""
    rows = "".join(
        f"<tr class={escape(one['severity'])}><td>{escape(one['rule'])}<td>{escape(one['title'])}"
        f"<td class=n>{one['rows']:,}<td>{escape(one['message'])}"
        f"<br><small>{escape(one['message_en'])}</small>"
        f"<td>{escape(one['first_rows'])}"
        for one in report["findings"]
    )
    score = report["scores"]["total"]
    return (
        "<!doctype html><html lang=zh><meta charset=utf-8><title>"
        f"{escape(dataset.title.zh)} 自测报告</title><style>"
        "body{font:15px/1.6 system-ui,'Noto Sans CJK SC',sans-serif;max-width:70rem;"
        "margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .6rem;"
        "border-bottom:1px solid #ddd;vertical-align:top}"
        ".n{text-align:right;font-variant-numeric:tabular-nums}"
        ".error td:first-child{border-left:4px solid #b42318}"
        ".warning td:first-child{border-left:4px solid #b54708}"
        "small{color:#555}</style>"
        f"<h1>{escape(dataset.title.zh)} 自测报告</h1>"
        f"<p>{escape(report['file'])} · {escape(dataset.edition)}"
        f"<p>行 rows <b>{report['rows']:,}</b> · 通过 accepted <b>{report['accepted']:,}</b> · "
        f"退回 rejected <b>{report['rejected']:,}</b> · 得分 score <b>{'—' if score is None else score}</b>"
        "<p>本报告不含任何数据值，可直接发给软件厂商。This report holds no values out of the file."
        "<table><tr><th>规则 rule<th>字段 field<th class=n>行数 rows<th>怎么改 what to do<th>行号 at rows"
        f"{rows}</table></html>"
    )
