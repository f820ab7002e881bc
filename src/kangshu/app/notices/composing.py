"""Write what a notice says: a letter in both languages, and a document for a hook. Pure.

Both name institutions, data sets, rules and numbers of rows. What people wrote into a task's notes may name
anybody and stays in the console.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kangshu.app.notices.errors import say
from kangshu.declarations import Pack
from kangshu.kernel.texts import Language, Text
from kangshu.quality.rectifying import (
    TASK_CLOSED,
    Notice,
    Task,
    TaskFinding,
    cause_title,
    grade_title,
)
from kangshu.quality.scoring import message_of, title_of

_FOREMOST = 10
_TITLE_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Told:
    """What there is to tell: a notice, its task, what that is about, and what the institution is called."""

    notice: Notice
    task: Task
    findings: Sequence[TaskFinding]
    institution_name: str
    address: str = ""
    """The task's page; empty where the platform does not know by which name people reach it."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A letter of plain text."""

    subject: str
    text: str


def write_letter(told: Told, *, pack: Pack) -> Letter:
    """Return the letter: Chinese first, then English."""
    subject = _line(told, pack, f"subject_{told.notice.topic.rpartition('.')[2]}")
    lines = list(_lines(told, pack))
    texts = ["\n".join(line.in_(language) for line in lines) for language in _LANGUAGES]
    return Letter(subject=subject.zh[:_TITLE_MOST], text="\n\n----\n\n".join(texts) + "\n")


def write_document(told: Told, *, pack: Pack) -> dict[str, Any]:
    """Return what is posted to a hook."""
    task = told.task
    grade, dataset = grade_title(pack=pack, grade=task.grade), _dataset_title(told, pack)
    return {
        "notice": told.notice.id,
        "topic": told.notice.topic,
        "at": told.notice.at.isoformat(timespec="seconds"),
        "task": task.id,
        "step": told.notice.event,
        "state": task.state.value,
        "institution": task.cell.institution,
        "institution_name": told.institution_name,
        "dataset": task.cell.dataset,
        "dataset_title": dataset.zh,
        "dataset_title_en": dataset.en,
        "month": f"{task.cell.month:%Y-%m}",
        "grade": task.grade,
        "grade_title": grade.zh,
        "grade_title_en": grade.en,
        "causes": [cause.value for cause in task.causes],
        "deadline": task.deadline.isoformat(),
        "escalations": task.escalations,
        "before": task.before.document(),
        "now": task.now.document(),
        "findings": [_finding(told, pack, one) for one in told.findings],
        "address": told.address,
    }


_LANGUAGES: tuple[Language, ...] = ("zh", "en")


def _lines(told: Told, pack: Pack) -> Iterable[Text]:
    task = told.task
    yield say("line_institution", name=told.institution_name, code=task.cell.institution)
    yield _line(told, pack, "line_cell")
    yield _line(told, pack, "line_grade")
    if task.now.rows or task.before.rows:
        yield say(
            "line_score",
            before=_points(task.before.score),
            now=_points(task.now.score),
            rows=f"{task.now.rows:,}",
            wrong=f"{task.now.wrong:,}",
        )
    open_findings = [one for one in told.findings if one.rows_now or one.points_now]
    if told.notice.topic != TASK_CLOSED:
        yield say("line_deadline", deadline=task.deadline)
        if open_findings:
            yield _blank()
            yield say("line_findings")
        for place, one in enumerate(open_findings[:_FOREMOST], 1):
            values = _finding(told, pack, one)
            yield say(
                "line_finding",
                place=place,
                **{name: values[name] for name in ("title", "title_en", "message", "message_en")},
                rows=f"{one.rows_now:,}",
                points=_points(one.points_now),
            )
        if len(open_findings) > _FOREMOST:
            yield say("line_more", count=len(open_findings) - _FOREMOST)
    yield _blank()
    if told.address:
        yield say("line_address", address=told.address)
    else:
        yield say("line_no_address", task=task.id)
    yield say("line_foot")


def _line(told: Told, pack: Pack, key: str) -> Text:
    task = told.task
    grade, dataset = grade_title(pack=pack, grade=task.grade), _dataset_title(told, pack)
    causes = [cause_title(cause) for cause in task.causes]
    return say(
        key,
        grade=grade.zh,
        grade_en=grade.en,
        dataset=dataset.zh,
        dataset_en=dataset.en,
        month=f"{task.cell.month:%Y-%m}",
        deadline=task.deadline,
        causes="、".join(cause.zh for cause in causes),
        causes_en=" and ".join(cause.en for cause in causes),
    )


def _finding(told: Told, pack: Pack, finding: TaskFinding) -> dict[str, Any]:
    dataset = pack.datasets.get(told.task.cell.dataset)
    plain = Text(zh=finding.rule, en=finding.rule)
    title = title_of(dataset=dataset, rule=finding.rule, field=finding.field) if dataset else plain
    message = message_of(dataset=dataset, rule=finding.rule, field=finding.field) if dataset else plain
    return {
        "rule": finding.rule,
        "field": finding.field,
        "severity": finding.severity.value,
        "title": title.zh,
        "title_en": title.en,
        "message": message.zh,
        "message_en": message.en,
        "rows": finding.rows_now,
        "points": finding.points_now,
    }


def _dataset_title(told: Told, pack: Pack) -> Text:
    name = told.task.cell.dataset
    dataset = pack.datasets.get(name)
    return dataset.title if dataset else Text(zh=name, en=name)


def _points(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def _blank() -> Text:
    return Text(zh="", en="")
