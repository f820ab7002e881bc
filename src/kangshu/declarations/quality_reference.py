"""The reference page of what a pack declares about quality, written from the declarations alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kangshu.declarations.model import Dimension, Pack
from kangshu.declarations.quality import (
    Band,
    EmrItem,
    Expectation,
    Grade,
    QualityIndicator,
    Reconciliation,
    ReconciliationSide,
    Scoring,
    ScoringGroup,
    ScoringItem,
)


def quality_page(pack: Pack) -> Iterator[str]:
    """Yield the lines of the Markdown page."""
    yield f"# 数据质量 Data quality of {pack.title.zh} ({pack.edition})"
    yield ""
    yield "Written by `kangshu datasets reference` from `quality/*.toml`; do not edit."
    yield ""
    yield "规则见各数据集的页面。The rules of each data set are on [its own page](datasets/README.md)."
    yield ""
    yield from _score(pack)
    yield from _expectations(pack)
    yield from _grades(pack.quality.grades)
    yield from _reconciliations(pack)
    yield from _indicators(pack.quality.indicators)
    yield from _emr_items(pack)
    for scoring in pack.quality.scorings:
        yield from _scoring(scoring)


def _score(pack: Pack) -> Iterator[str]:
    score = pack.quality.score
    yield "## 评分 Scores"
    yield ""
    yield (
        f"只有警告的行按 {score.warning_weight:g} 行计。"
        f"A row with warnings only counts {score.warning_weight:g} of a wrong row."
    )
    yield ""
    yield from _table(
        ("维度 dimension", "权重 weight"),
        [(name, _number(score.dimensions[name])) for name in Dimension if name in score.dimensions],
    )
    rows = [(_dataset(pack, name), _number(weight)) for name, weight in score.datasets.items()]
    rows.append(("其他 others", _number(score.other_datasets)))
    yield from _table(("数据集 data set", "权重 weight"), rows)
    yield from _bands(score.bands)


def _expectations(pack: Pack) -> Iterator[str]:
    if not pack.quality.expectations:
        return
    yield "## 应报 What is expected"
    yield ""
    heads = (
        *("数据集 data set", "机构类别 types", "级别 levels", "期限（月后天数） due days"),
        *("迟报无效（再过天数） worthless after", "完整下限 least share", "参照 statistic"),
    )
    yield from _table(heads, [_expectation(pack, one) for one in pack.quality.expectations])


def _expectation(pack: Pack, one: Expectation) -> tuple[str, ...]:
    return (
        _dataset(pack, one.dataset),
        ", ".join(one.types) or "全部 all",
        ", ".join(one.levels) or "全部 all",
        str(one.due_days),
        str(one.late_days),
        f"{one.least_share:.0%}",
        f"`{one.statistic}`" if one.statistic else "",
    )


def _grades(grades: Sequence[Grade]) -> Iterator[str]:
    if not grades:
        return
    yield "## 预警等级 Grades of warnings"
    yield ""
    heads = (
        *("等级 grade", "得分低于 score below", "一项问题占比达到 share at least"),
        *("逾期未到天数 days missing", "整改天数 days", "超期几天上报 escalated after"),
    )
    rows = [
        (
            f"{grade.title.zh} {grade.title.en}",
            _number(grade.score_below),
            "" if grade.share_at_least is None else f"{grade.share_at_least:.0%}",
            _number(grade.missing_days),
            str(grade.days),
            str(grade.escalate_days),
        )
        for grade in grades
    ]
    yield from _table(heads, rows)


def _reconciliations(pack: Pack) -> Iterator[str]:
    if not pack.quality.reconciliations:
        return
    yield "## 对账 Reconciliations"
    yield ""
    heads = ("编号 id", "", "", "一方 left", "另一方 right", "容差 tolerance", "出处 source")
    rows = [
        (
            one.id,
            one.title.zh,
            one.title.en,
            _side(pack, one.left),
            _side(pack, one.right),
            _tolerance(one),
            one.source,
        )
        for one in pack.quality.reconciliations
    ]
    yield from _table(heads, rows)


def _side(pack: Pack, side: ReconciliationSide) -> str:
    parts = [_dataset(pack, side.dataset), f"`{side.value}`", f"按 by `{side.month}`"]
    if side.where:
        parts.append(f"`{side.where}`")
    if side.key:
        parts.append(f"键 key {_names(side.key)}")
    return "<br>".join(parts)


def _tolerance(one: Reconciliation) -> str:
    parts = [f"{one.relative:.0%}"] if one.relative else []
    parts += [_number(one.absolute)] if one.absolute else []
    return " / ".join(parts) or "0"


def _indicators(indicators: Sequence[QualityIndicator]) -> Iterator[str]:
    if not indicators:
        return
    yield "## 质控指标 Indicators"
    yield ""
    yield from _table(
        ("编号 id", "", "", "对象 among", "怎么算 how", "说明 note"),
        [
            (
                one.id,
                one.title.zh,
                one.title.en,
                f"`{one.among}`" if one.among else "",
                _way(one),
                " ".join(part for part in (one.note.zh, one.note.en) if part),
            )
            for one in indicators
        ],
    )


def _way(one: QualityIndicator) -> str:
    if one.scoring:
        return f"评分表 sheet `{one.scoring}`, `{one.band}`"
    if one.reconciliation:
        return f"对账 reconciliation {one.reconciliation}"
    parts = [f"字段 fields {_names(one.fields)}"] if one.fields else []
    parts += [f"规则 rules {', '.join(one.rules)}"] if one.rules else []
    return "<br>".join(parts)


def _emr_items(pack: Pack) -> Iterator[str]:
    if not pack.quality.emr_items:
        return
    yield "## 电子病历数据质量 EMR data quality"
    yield ""
    heads = (
        *("编号 id", "", "", "数据集 data set", "一致性 consistency", "必需项 required"),
        *("期望项 expected", "整合性 linkage", "及时性 timeliness"),
    )
    yield from _table(heads, [_emr_item(pack, item) for item in pack.quality.emr_items])


def _emr_item(pack: Pack, item: EmrItem) -> tuple[str, ...]:
    asked = (item.consistency, item.required, item.expected)
    return (
        item.id,
        item.title.zh,
        item.title.en,
        _dataset(pack, item.dataset),
        *(f"`{sql}`" if sql else "" for sql in asked),
        ", ".join(item.linkage),
        f"`{item.timeliness}`" if item.timeliness else "",
    )


def _scoring(scoring: Scoring) -> Iterator[str]:
    yield f"## {scoring.title.zh} {scoring.title.en}"
    yield ""
    yield f"`{scoring.name}` · {scoring.source}"
    yield ""
    yield from _bands(scoring.bands)
    for group in scoring.groups:
        yield from _group(group)


def _group(group: ScoringGroup) -> Iterator[str]:
    yield f"### {group.title.zh} {group.title.en} · {_number(group.points)} 分 points"
    yield ""
    heads = ("项目 item", "", "类 class", "分 points", "字段 fields", "规则 rules")
    yield from _table(heads, [_item(item) for item in group.items])


def _item(item: ScoringItem) -> tuple[str, ...]:
    return (
        item.title.zh,
        item.title.en,
        item.kind,
        _number(item.points),
        _names(item.fields),
        ", ".join(item.rules),
    )


def _bands(bands: Sequence[Band]) -> Iterator[str]:
    if bands:
        rows = [(f"{band.title.zh} {band.title.en}", _number(band.least)) for band in bands]
        yield from _table(("等级 band", "至少 at least"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"
    yield ""


def _dataset(pack: Pack, name: str) -> str:
    return f"[{pack.datasets[name].title.zh}](datasets/{name}.md)"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
