"""A circular of a fictional region, for tests of its forms. No institution in it exists."""

from __future__ import annotations

from datetime import date

from kangshu.declarations import Dimension, Severity
from kangshu.kernel.texts import Text
from kangshu.quality.circular import (
    BalanceLine,
    BandLine,
    Circular,
    CoverageLine,
    FindingLine,
    Headline,
    ItemLine,
    LoopLine,
    RankLine,
    ShareLine,
    SheetLine,
)

NASTY = '=1+1 #panic("x") $a$ <b> \\ _*`@{}[]'
"""A name that a spreadsheet, a page or the typesetter might take for a command."""


def line(place: int, name: str, total: float, *, tied: bool = False) -> RankLine:
    return RankLine(
        place=place,
        tied=tied,
        institution=f"99000101599010211A{place:03d}",
        name=name,
        total=total,
        change=None if place == 1 else -1.5 if place == 2 else 0.0,
        climbed=None if place == 1 else 2 - place,
        expected=4,
        arrived=3,
        rows=1_234_567,
        rejected=89,
        by_dimension={Dimension.COMPLETENESS: 98.76, Dimension.TIMELINESS: 50.0},
    )


def circular(*, institutions: int = 12, name: str = "海康市第一人民医院") -> Circular:
    """A circular with everything in it; `name` is the best institution's."""
    return Circular(
        month=date(2026, 3, 1),
        region=Text(zh="模拟省", en="Simulated Province"),
        as_of=date(2026, 4, 12),
        headline=Headline(
            institutions=institutions,
            expected=48,
            arrived=36,
            files=77,
            rows=14_814_804,
            rejected=1_068,
            mean=87.65,
            mean_before=86.0,
        ),
        by_dimension={Dimension.COMPLETENESS: 98.76, Dimension.TIMELINESS: 50.0},
        ranking=tuple(
            line(place, name if place == 1 else f"虚构医院{place}", 100 - place * 1.13)
            for place in range(1, institutions + 1)
        ),
        findings=(
            FindingLine(
                dataset="front_page",
                dataset_title=Text(zh="住院病案首页", en="Front page"),
                rule="FP006",
                title=Text(zh="年龄、出生日期", en="Age, Birth date"),
                message=Text(zh="年龄应为入院当日的周岁", en="the age is the completed years on admission"),
                severity=Severity.ERROR,
                dimension=Dimension.CONSISTENCY,
                rows=5_678,
                institutions=9,
            ),
        ),
        coverage=(
            CoverageLine(
                dataset="front_page",
                title=Text(zh="住院病案首页", en="Front page"),
                expected=12,
                on_time=7,
                late=1,
                incomplete=1,
                missing=3,
            ),
        ),
        sheets=(
            SheetLine(
                title=Text(zh="首页评分表", en="Front page sheet"),
                rows=1000,
                mean=93.2,
                bands=(
                    BandLine(title=Text(zh="优秀", en="Excellent"), rows=334),
                    BandLine(title=Text(zh="良好", en="Good"), rows=666),
                ),
            ),
        ),
        indicators=(
            ShareLine(
                id="I1",
                title=Text(zh="主要诊断编码正确率", en="Right codes"),
                good=2,
                total=3,
                share=0.666667,
            ),
        ),
        emr=(ItemLine(item="E1", title=Text(zh="病房医嘱", en="Orders"), rows=12, coefficient=0.123456),),
        balances=(
            BalanceLine(
                id="RC1",
                title=Text(zh="出院人数", en="Discharges"),
                institutions=12,
                within=10,
                over=1,
                missing=1,
                left=10_000.0,
                right=10_234.5,
            ),
        ),
        loop=LoopLine(tasks=40, closed=30, cleared=29, overdue=2, escalated=1),
    )
