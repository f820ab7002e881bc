"""Keep what was found: by the check on arrival, and by the rules over the lake."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from kangshu.declarations import Dataset
from kangshu.intake import Examined, Finding, Share
from kangshu.quality import places, store
from kangshu.quality.model import Origin
from kangshu.quality.queries import findings_of
from kangshu.quality.weighing import Weighed, weigh
from kangshu.storage.database import Connection

_UnitKey = tuple[int, str, date]


async def record_file(
    connection: Connection,
    *,
    file: int,
    dataset: Dataset,
    examined: Examined,
    received_at: datetime,
    replaces: Sequence[int] = (),
) -> None:
    """Keep what the check on arrival found in a file, and forget the files whose place it takes.

    To be called in the transaction that commits the file, so that figures and files never disagree.
    """
    await store.delete_units(connection, files=[*replaces, file])
    await store.insert_units(connection, _unit_rows(file, dataset, examined.shares, received_at=received_at))
    units = await asyncio.to_thread(_weigh_units, {file: examined.findings}, dataset)
    origins = {key: [Origin.ARRIVAL] * len(unit.findings) for key, unit in units.items()}
    await store.insert_findings(connection, _finding_rows(units, origins))
    await store.insert_tallies(connection, _tally_rows(units))


async def forget_files(connection: Connection, *, files: Sequence[int]) -> None:
    """Forget files that count no longer."""
    await store.delete_units(connection, files=files)


async def replace_region_findings(
    connection: Connection,
    *,
    dataset: Dataset,
    files: Sequence[int],
    rules: Sequence[str],
    findings: Mapping[int, Sequence[Finding]],
    shares: Mapping[int, Sequence[Share]] | None = None,
    received_at: datetime | None = None,
) -> None:
    """Put what `rules` now find in `files` in the place of what they found before.

    Files whose rows came in messages are not recorded on arrival: `shares` and `received_at` make their
    units anew, so `rules` must then be all that are asked of them. Of other files, those that count no longer
    are left out, and so is what is found in a unit that is not kept.
    """
    if shares:
        assert received_at is not None, "units out of messages have a time"
        await store.delete_units(connection, files=list(shares))
        for file, own in shares.items():
            await store.insert_units(connection, _unit_rows(file, dataset, own, received_at=received_at))
    kept = await store.lock_files(connection, files=files)
    await store.delete_findings(connection, files=kept, rules=rules)
    await store.delete_tallies(connection, files=kept)
    known = {
        (row["file_id"], row["institution"], row["month"])
        for row in await store.select_units(connection, files=kept)
    }
    earlier: dict[int, list[Finding]] = defaultdict(list)
    origin_of: dict[tuple[_UnitKey, str, str], Origin] = {}
    for row in await store.select_findings(connection, files=kept):
        earlier[row["file_id"]].append(findings_of(row))
        origin_of[_key(row["file_id"], findings_of(row)), row["rule"], row["field"]] = Origin(row["origin"])
    fresh = {
        file: [one for one in findings.get(file, ()) if _key(file, one) in known and len(one.rows)]
        for file in kept
    }
    everything = {file: [*earlier.get(file, ()), *fresh[file]] for file in kept}
    units = await asyncio.to_thread(_weigh_units, everything, dataset)
    origins = {
        key: [origin_of.get((key, one.rule, one.field)) for one in unit.findings]
        for key, unit in units.items()
    }
    await store.update_sole(connection, _sole_rows(units, origins))
    await store.insert_findings(
        connection,
        _finding_rows(
            units, {key: [None if one else Origin.REGION for one in own] for key, own in origins.items()}
        ),
    )
    await store.insert_tallies(connection, _tally_rows(units))


def _weigh_units(findings: Mapping[int, Sequence[Finding]], dataset: Dataset) -> dict[_UnitKey, Weighed]:
    grouped: defaultdict[_UnitKey, list[Finding]] = defaultdict(list)
    for file, own in findings.items():
        for finding in own:
            grouped[_key(file, finding)].append(finding)
    return {key: weigh(own, dataset=dataset) for key, own in grouped.items()}


def _key(file: int, finding: Finding) -> _UnitKey:
    return file, finding.institution, finding.month


def _unit_rows(
    file: int, dataset: Dataset, shares: Iterable[Share], *, received_at: datetime
) -> Iterable[store.UnitRow]:
    return [
        (
            file,
            share.institution,
            share.month,
            dataset.name,
            share.rows,
            share.rejected,
            received_at,
            dataset.edition,
        )
        for share in shares
    ]


def _finding_rows(
    units: Mapping[_UnitKey, Weighed], origins: Mapping[_UnitKey, Sequence[Origin | None]]
) -> Iterable[store.FindingRow]:
    """Yield the findings that have an origin; the others are kept already."""
    for key, unit in units.items():
        members = zip(unit.findings, unit.dimensions, unit.sole, origins[key], strict=True)
        for finding, dimension, sole, origin in members:
            if origin is not None:
                yield (
                    *key,
                    finding.rule,
                    finding.field,
                    origin.value,
                    finding.severity.value,
                    dimension.value,
                    len(finding.rows),
                    sole,
                    places.encode(finding.rows),
                )


def _sole_rows(
    units: Mapping[_UnitKey, Weighed], origins: Mapping[_UnitKey, Sequence[Origin | None]]
) -> Iterable[tuple[int, int, str, date, str, str]]:
    for key, unit in units.items():
        for finding, sole, origin in zip(unit.findings, unit.sole, origins[key], strict=True):
            if origin is not None:
                yield (sole, *key, finding.rule, finding.field)


def _tally_rows(units: Mapping[_UnitKey, Weighed]) -> Iterable[store.TallyRow]:
    for key, unit in units.items():
        yield (*key, "", unit.whole.errors, unit.whole.warnings)
        for dimension, tally in unit.by_dimension.items():
            yield (*key, dimension.value, tally.errors, tally.warnings)
