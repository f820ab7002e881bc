"""CSV files of other projects, each taken in through its declaration alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kangshu.app.platform import Platform
from kangshu.app.taking import take_in_files
from kangshu.intake import get_receipt, list_reasons, reason_text

CSV_SOURCES = ("synthea_csv", "mimic_iv_ed_demo")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One file and what became of it; `reasons` are rule, field, severity, rows and what it asks for."""

    source: str
    file: str
    dataset: str
    state: str
    rows: int
    accepted: int
    rejected: int
    persons: int
    reasons: tuple[tuple[str, str, str, int, str], ...]


async def take_csv_samples(platform: Platform, samples: Path) -> list[Taken]:
    """Take in every CSV file of the known sources under `samples`, each through its declaration alone."""
    taken: list[Taken] = []
    for source in CSV_SOURCES:
        files = sorted((samples / "csv" / source).glob("*.csv"))
        figures = await take_in_files(platform, files, institution=f"SAMPLE-{source}", quiet=True)
        for receipt_id in figures["receipts"]:
            taken.append(await _told(platform, source, receipt_id))
    return sorted(taken, key=lambda one: (one.source, one.file))


async def _told(platform: Platform, source: str, receipt_id: int) -> Taken:
    async with platform.database.connection() as connection:
        receipt = await get_receipt(connection, receipt_id=receipt_id)
        reasons = await list_reasons(connection, receipt_id=receipt_id)
    dataset = platform.pack.datasets.get(receipt.dataset or "")
    return Taken(
        source=source,
        file=receipt.name,
        dataset=receipt.dataset or "",
        state=str(receipt.state),
        rows=receipt.rows,
        accepted=receipt.accepted,
        rejected=receipt.rejected,
        persons=receipt.persons_created,
        reasons=tuple(
            (
                one.rule,
                one.field,
                one.severity,
                one.rows,
                reason_text(rule=one.rule, field=one.field, dataset=dataset).en,
            )
            for one in reasons
        ),
    )


def as_markdown(taken: Sequence[Taken]) -> str:
    """Return the table as a page."""
    lines = [
        "# CSV samples",
        "",
        "Written by `make conformance` from its results; do not edit. The files are synthetic (Synthea) or",
        "de-identified (MIMIC-IV-ED demo, ODbL) and are not part of this project. Each comes in through a",
        "declaration in `packs/base/datasets`; no line of code knows these sources.",
        "",
        "| source | file | data set | state | rows | accepted | rejected | new persons |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.source} | {one.file} | `{one.dataset}` | {one.state} | {one.rows:,} | {one.accepted:,} "
        f"| {one.rejected:,} | {one.persons:,} |"
        for one in taken
    ]
    total = [sum(getattr(one, name) for one in taken) for name in ("rows", "accepted", "rejected", "persons")]
    lines.append(f"| | {len(taken)} files | | | " + " | ".join(f"{value:,}" for value in total) + " |")
    lines += [
        "",
        "## Reasons",
        "",
        "| file | rule | field | severity | rows | demands |",
        "|---|---|---|---|---:|---|",
    ]
    lines += [
        f"| {one.file} | {rule} | {field} | {severity} | {rows:,} | {demand} |"
        for one in taken
        for rule, field, severity, rows, demand in one.reasons
    ]
    return "\n".join([*lines, ""])
