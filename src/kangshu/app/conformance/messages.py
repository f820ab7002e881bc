"""Messages and documents of other projects: taken in as a sender's, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kangshu.app.messages.files import MessageFigures, MessageFile, message_format, take_message_files
from kangshu.app.messages.lane import MessageLane
from kangshu.app.platform import Platform
from kangshu.kernel.errors import KangshuError

_PASSED_OVER = (".csv", ".md", ".xsd", ".fsh", ".yaml", ".dcm")
"""Tables, explanations, schemas, pictures: no messages."""
_REASON_MOST = 160


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """One file: its messages, what became of them, and why those that were refused were."""

    source: str
    file: str
    format: str
    messages: int
    accepted: int
    duplicate: int
    refused: int
    resources: int
    reasons: tuple[tuple[str, str], ...] = field(default=())
    """Place and reason of each refusal."""
    crash: str = ""
    """The kind of an unexpected failure; there must be none."""


async def take_samples(
    platform: Platform, lane: MessageLane, *, folder: Path, sources: Sequence[str]
) -> list[TakenFile]:
    """Take in every file of the folders `sources` under `folder`, each file as a sender of its own.

    These files know nothing of each other: they use the same control ids and numbers for different things.
    """
    taken: list[TakenFile] = []
    for source in sources:
        files = sorted(path for path in (folder / source).rglob("*") if path.is_file())
        for number, path in enumerate(files, 1):
            if path.suffix.lower() not in _PASSED_OVER:
                name = path.relative_to(folder / source).as_posix()
                sender = f"SAMPLE-{source}-{number}"
                taken.append(await _take(platform, lane, path, source=source, name=name, sender=sender))
    return taken


async def _take(
    platform: Platform, lane: MessageLane, path: Path, *, source: str, name: str, sender: str
) -> TakenFile:
    figures, crash = MessageFigures(), ""
    try:
        file = MessageFile(
            path=path,
            sender=sender,
            received_by="conformance",
            received_at=platform.clock.now(),
            name=name,
        )
        await take_message_files(platform, lane, [file], figures=figures)
    except KangshuError:
        raise
    except Exception as error:  # noqa: BLE001 - a crash is what the suite looks for
        crash = type(error).__name__
    known = message_format(path)
    return TakenFile(
        source=source,
        file=name,
        format=known.value if known else "",
        messages=figures.messages,
        accepted=figures.accepted,
        duplicate=figures.duplicate,
        refused=figures.rejected,
        resources=figures.resources,
        reasons=tuple((one["place"] or "", one["reason_en"][:_REASON_MOST]) for one in figures.rejections),
        crash=crash,
    )


def as_page(
    title: str, about: str, taken: Sequence[TakenFile], *, remarks: Mapping[str, str] | None = None
) -> str:
    """Return the results as a page: sources, reasons, and each refused file with its place and reason.

    `remarks` say of single files (`source/file`) why a refusal is right, or why it is a disagreement.
    """
    lines = [f"# {title}", "", "Written by `make conformance` from its results; do not edit. " + about, ""]
    lines += _by_source(taken)
    lines += ["", "## Refused, file by file", ""]
    lines += _refused(taken, remarks or {})
    return "\n".join([*lines, ""])


def _by_source(taken: Sequence[TakenFile]) -> list[str]:
    lines = [
        "| source | files | messages | accepted | repeats | refused | resources | crashes |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    sources = sorted({one.source for one in taken})
    for source in [*sources, None]:
        mine = [one for one in taken if source is None or one.source == source]
        sums = [
            sum(getattr(one, name) for one in mine)
            for name in ("messages", "accepted", "duplicate", "refused", "resources")
        ]
        crashes = sum(bool(one.crash) for one in mine)
        shown = " | ".join(f"{value:,}" for value in sums)
        lines.append(f"| {source or '**all**'} | {len(mine):,} | {shown} | {crashes} |")
    return lines


def _refused(taken: Sequence[TakenFile], remarks: Mapping[str, str]) -> list[str]:
    lines = ["| source | file | messages refused | place: reason | remark |", "|---|---|---:|---|---|"]
    for one in taken:
        if not one.refused:
            continue
        counted = Counter(f"{place}: {reason}" if place else reason for place, reason in one.reasons)
        said = "; ".join(
            f"{reason} ({count} times)" if count > 1 else reason for reason, count in counted.most_common(4)
        )
        remark = remarks.get(f"{one.source}/{one.file}", "")
        lines.append(f"| {one.source} | {one.file} | {one.refused} | {_plain(said)} | {_plain(remark)} |")
    return lines


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
