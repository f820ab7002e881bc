"""A later document takes the place of an earlier one: what was true by the earlier one alone is withdrawn.

Nothing is deleted: the earlier document becomes `superseded`, and what it alone said becomes a version that
says `entered-in-error`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kangshu.records.content import parse_whole, unpack
from kangshu.records.model import Criterion, Stored, Write
from kangshu.records.operations import store
from kangshu.records.queries import find_by_identifiers
from kangshu.records.store import list_by_messages, list_resources
from kangshu.storage.database import Connection, Record

_KEPT = frozenset(
    {"Patient", "Encounter", "DocumentReference", "RelatedPerson", "Practitioner", "Organization"}
)
"""Types that a document brings along, or that are the document; they are not withdrawn with it."""
_BY_VERIFICATION = frozenset({"Condition", "AllergyIntolerance"})
_VERIFICATION = {
    "Condition": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
    "AllergyIntolerance": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
}
_WITHDRAWN = "entered-in-error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """A new DocumentReference and what it says of earlier ones: their ids, or numbers they have.

    `withdraws` says that the document itself is withdrawn: with it goes what earlier versions said.
    """

    id: str
    message: int
    institution: str
    persons: frozenset[int]
    replaced: frozenset[str]
    numbers: tuple[tuple[str | None, str], ...] = ()
    withdraws: bool = False


def replacement_of(
    resource: Mapping[str, Any], *, message: int, institution: str, persons: Iterable[int]
) -> Replacement | None:
    """Return what a DocumentReference says of earlier documents, or None where it replaces none."""
    replaced: set[str] = set()
    numbers: list[tuple[str | None, str]] = []
    for relation in resource.get("relatesTo", ()):
        if relation.get("code") != "replaces":
            continue
        target = relation.get("target", {})
        kind, _, identity = str(target.get("reference", "")).partition("/")
        if kind == "DocumentReference" and identity:
            replaced.add(identity)
        elif value := target.get("identifier", {}).get("value"):
            numbers.append((target["identifier"].get("system"), value))
    withdraws = resource.get("status") == _WITHDRAWN
    if not replaced and not numbers and not withdraws:
        return None
    return Replacement(
        id=resource["id"],
        message=message,
        institution=institution,
        persons=frozenset(persons),
        replaced=frozenset(replaced),
        numbers=tuple(numbers),
        withdraws=withdraws,
    )


async def supersede(
    connection: Connection, *, replacements: Sequence[Replacement], now: datetime
) -> list[Stored]:
    """Let new documents, stored before in this transaction, take the place of those that they replace.

    Documents of another institution are left as they are: nobody withdraws what others said.
    """
    stored: list[Stored] = []
    for one in replacements:
        earlier = await _earlier(connection, one)
        writes = [_changed(row, _superseded(row), one) for row in earlier if not row["deleted"]]
        messages = sorted({row["message"] for row in earlier if row["message"] not in (None, one.message)})
        if messages and one.persons:
            rows = await list_by_messages(connection, persons=sorted(one.persons), messages=messages)
            writes += [
                _changed(row, _withdrawn(row), one)
                for row in rows
                if row["type"] not in _KEPT and row["institution"] == one.institution
            ]
        if writes:
            stored += await store(connection, writes=writes, now=now)
    return stored


async def _earlier(connection: Connection, one: Replacement) -> list[Record]:
    ids = set(one.replaced)
    criteria: list[Criterion] = [("DocumentReference", (number,)) for number in one.numbers]
    if criteria:
        for found in await find_by_identifiers(connection, criteria=criteria):
            ids.update(found)
    ids.discard(one.id)
    rows = await list_resources(connection, requests=[("DocumentReference", id_) for id_ in sorted(ids)])
    return [row for row in rows if row["institution"] == one.institution]


def _superseded(row: Record) -> dict[str, Any]:
    return {**parse_whole(unpack(row["content"])), "status": "superseded"}


def _withdrawn(row: Record) -> dict[str, Any]:
    resource = parse_whole(unpack(row["content"]))
    if row["type"] in _BY_VERIFICATION:
        resource.pop("clinicalStatus", None)  # con-5, ait-2: none where it was entered in error
        resource["verificationStatus"] = {
            "coding": [{"system": _VERIFICATION[row["type"]], "code": _WITHDRAWN}]
        }
    else:
        resource["status"] = _WITHDRAWN
    return resource


def _changed(row: Record, resource: dict[str, Any], one: Replacement) -> Write:
    return Write(
        type=row["type"],
        id=row["id"],
        resource=resource,
        person=row["person"],
        institution=row["institution"],
        message=one.message,
    )
