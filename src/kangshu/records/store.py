"""The only SQL on the tables of records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kangshu.records.moments import LOCAL
from kangshu.storage.database import Connection, Record

# Arbitrary, but the same in every process: the first half of our advisory locks ("rec" read as a number).
_LOCK_SPACE = 0x726563
_LOCK_ALL = 0
# The server's table of locks is for all its connections; who needs more locks everybody else out.
_LOCKS_MOST = 256

_COLUMNS = (
    "id, type, person, institution, message, updated_at, version, "
    "deleted, kind, at, until, marks, digest, content"
)
_KEPT = "id, type, person, institution, message, updated_at, version, deleted, content"
_OLD = (
    "old.person AS old_person, old.institution AS old_institution, old.message AS old_message, "
    "old.updated_at AS old_updated_at, old.deleted AS was_deleted, old.content AS old_content"
)
_NEW = """unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::boolean[],
    $7::smallint[], $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::bytea[], $12::bytea[]"""
_NEW_NAMES = "id, type, person, institution, message, deleted, kind, at, until, marks, digest, content"
_NUMBERS = """
  INSERT INTO records_identifier (digest, id, type)
  SELECT i.digest, i.id, i.type
  FROM unnest($13::bigint[], $14::text[], $15::text[]) AS i(digest, id, type)
  JOIN put ON put.id = i.id AND put.type = i.type
  WHERE put.before IS NULL OR NOT EXISTS (
    SELECT FROM records_identifier k WHERE k.digest = i.digest AND k.id = i.id AND k.type = i.type)
  ORDER BY i.digest"""

# One statement stores a whole batch. Rows are locked in the order of their keys, new and present ones alike,
# so two transactions with the same ids wait for each other and do not die of it. What was there before comes
# back with RETURNING (PostgreSQL 18 knows `old`) and goes into the history within the statement.
# A deletion of what is not there stores nothing; one of what is there leaves whose it was.
_PUT = f"""
WITH put AS (
  INSERT INTO records_resource AS r ({_COLUMNS})
  SELECT id, type, person, institution, message, $16::timestamptz, 1, deleted, kind, at, until, marks, digest,
         content
  FROM {_NEW}) AS n({_NEW_NAMES})
  WHERE NOT deleted OR EXISTS (SELECT FROM records_resource b WHERE b.id = n.id AND b.type = n.type)
  ORDER BY id, type
  ON CONFLICT (id, type) DO UPDATE SET
    person = CASE WHEN excluded.deleted THEN r.person ELSE excluded.person END,
    institution = CASE WHEN excluded.deleted THEN r.institution ELSE excluded.institution END,
    message = excluded.message, updated_at = excluded.updated_at, version = r.version + 1,
    deleted = excluded.deleted, kind = excluded.kind, at = excluded.at, until = excluded.until,
    marks = excluded.marks, digest = excluded.digest, content = excluded.content
  WHERE r.digest <> excluded.digest OR (r.person IS DISTINCT FROM excluded.person AND NOT excluded.deleted)
  RETURNING r.id, r.type, r.version, old.version AS before, {_OLD}
), kept AS (
  INSERT INTO records_history ({_KEPT})
  SELECT id, type, old_person, old_institution, old_message, old_updated_at, before, was_deleted, old_content
  FROM put WHERE before IS NOT NULL
), numbers AS ({_NUMBERS})
SELECT id, type, version, before, was_deleted FROM put"""

# Where a call brings several versions of a resource, `_PUT` stored the first and holds its lock; this stores
# the last, and what lies between goes into the history at once.
_PUT_LATER = f"""
WITH last AS (
  SELECT * FROM {_NEW}, $17::integer[]) AS n({_NEW_NAMES}, added)
), put AS (
  UPDATE records_resource r SET
    person = last.person, institution = last.institution, message = last.message,
    updated_at = $16::timestamptz, version = r.version + last.added, deleted = last.deleted,
    kind = last.kind, at = last.at, until = last.until, marks = last.marks, digest = last.digest,
    content = last.content
  FROM last WHERE r.id = last.id AND r.type = last.type
  RETURNING r.id, r.type, old.version AS before, {_OLD}
), kept AS (
  INSERT INTO records_history ({_KEPT})
  SELECT id, type, old_person, old_institution, old_message, old_updated_at, before, was_deleted, old_content
  FROM put
), between AS (
  INSERT INTO records_history ({_KEPT})
  SELECT b.id, b.type, b.person, b.institution, b.message, $16::timestamptz, put.before + b.number,
         b.deleted, b.content
  FROM unnest($18::text[], $19::text[], $20::bigint[], $21::text[], $22::bigint[], $23::boolean[],
    $24::integer[], $25::bytea[]) AS b(id, type, person, institution, message, deleted, number, content)
  JOIN put ON put.id = b.id AND put.type = b.type
), numbers AS ({_NUMBERS})
SELECT count(*) FROM put"""

_SEALED = "r.id, r.type, r.version, r.person, r.institution, r.message, r.deleted, r.updated_at, r.content"


@dataclass(kw_only=True, slots=True)
class NewVersion:
    """A version of a resource as it goes into the tables."""

    id: str
    type: str
    person: int | None
    institution: str
    message: int | None
    deleted: bool
    kind: int | None
    at: datetime | None
    until: datetime | None
    marks: int
    digest: bytes
    content: bytes
    identifiers: frozenset[int]


async def put(connection: Connection, versions: Sequence[NewVersion], *, now: datetime) -> list[Record]:
    """Store one version of each of several resources, given in the order of id and type.

    Return what changed: id, type, version, version before (or NULL), whether that one was a deletion.
    """
    return await connection.fetch(_PUT, *_arrays(versions), *_numbers(versions), now)


async def put_later(connection: Connection, chains: Sequence[Sequence[NewVersion]], *, now: datetime) -> None:
    """Store further versions of resources that `put` has stored or found in this transaction."""
    lasts = [chain[-1] for chain in chains]
    between = [(number, one) for chain in chains for number, one in enumerate(chain[:-1], start=1)]
    await connection.execute(
        _PUT_LATER,
        *_arrays(lasts),
        *_numbers([one for chain in chains for one in chain]),
        now,
        [len(chain) for chain in chains],
        [one.id for _, one in between],
        [one.type for _, one in between],
        [one.person for _, one in between],
        [one.institution for _, one in between],
        [one.message for _, one in between],
        [one.deleted for _, one in between],
        [number for number, _ in between],
        [one.content for _, one in between],
    )


def _arrays(versions: Sequence[NewVersion]) -> tuple[list[Any], ...]:
    return (
        [one.id for one in versions],
        [one.type for one in versions],
        [one.person for one in versions],
        [one.institution for one in versions],
        [one.message for one in versions],
        [one.deleted for one in versions],
        [one.kind for one in versions],
        [one.at for one in versions],
        [one.until for one in versions],
        [one.marks for one in versions],
        [one.digest for one in versions],
        [one.content for one in versions],
    )


def _numbers(versions: Sequence[NewVersion]) -> tuple[list[Any], list[Any], list[Any]]:
    told = {(digest, one.id, one.type) for one in versions for digest in one.identifiers}
    return [digest for digest, _, _ in told], [id_ for _, id_, _ in told], [type_ for _, _, type_ in told]


async def list_headers(connection: Connection, *, requests: Sequence[tuple[str, str]]) -> list[Record]:
    """Return what is known of these resources (type, id) but their content, in no order."""
    return await connection.fetch(
        """SELECT r.id, r.type, r.version, r.person, r.institution, r.deleted, r.updated_at
           FROM unnest($1::text[], $2::text[]) AS s(id, type)
           JOIN records_resource r ON r.id = s.id AND r.type = s.type""",
        [id_ for _, id_ in requests],
        [type_ for type_, _ in requests],
    )


async def list_resources(connection: Connection, *, requests: Sequence[tuple[str, str]]) -> list[Record]:
    """Return the present versions of these resources (type, id), in no order."""
    return await connection.fetch(
        f"""SELECT {_SEALED} FROM unnest($1::text[], $2::text[]) AS s(id, type)
            JOIN records_resource r ON r.id = s.id AND r.type = s.type""",
        [id_ for _, id_ in requests],
        [type_ for type_, _ in requests],
    )


async def list_by_messages(
    connection: Connection, *, persons: Sequence[int], messages: Sequence[int]
) -> list[Record]:
    """Return the resources about `persons` whose present version one of `messages` brought."""
    return await connection.fetch(
        f"""SELECT {_SEALED} FROM records_resource r
            WHERE person = ANY ($1::bigint[]) AND message = ANY ($2::bigint[]) AND NOT deleted
            ORDER BY r.type, r.id""",
        persons,
        messages,
    )


async def list_versions(connection: Connection, *, requests: Sequence[tuple[str, str, int]]) -> list[Record]:
    """Return these versions (type, id, version), in no order."""
    return await connection.fetch(
        f"""WITH s AS MATERIALIZED (
              SELECT * FROM unnest($1::text[], $2::text[], $3::integer[]) AS s(type, id, version))
            SELECT {_SEALED} FROM s JOIN records_resource r
              ON r.id = s.id AND r.type = s.type AND r.version = s.version
            UNION ALL
            SELECT {_SEALED} FROM s JOIN records_history r
              ON r.id = s.id AND r.type = s.type AND r.version = s.version""",
        [type_ for type_, _, _ in requests],
        [id_ for _, id_, _ in requests],
        [version for _, _, version in requests],
    )


async def list_history(
    connection: Connection,
    *,
    type: str,  # noqa: A002
    id: str,  # noqa: A002
    before: int | None,
    limit: int,
) -> list[Record]:
    """Return versions of a resource, the newest first."""
    return await connection.fetch(
        f"""SELECT * FROM (
              SELECT {_SEALED} FROM records_resource r WHERE id = $1 AND type = $2
              UNION ALL
              SELECT {_SEALED} FROM records_history r WHERE id = $1 AND type = $2) AS r
            WHERE $3::integer IS NULL OR version < $3 ORDER BY version DESC LIMIT $4""",
        id,
        type,
        before,
        limit,
    )


async def list_by_identifiers(
    connection: Connection, *, digests: Sequence[int], types: Sequence[str]
) -> list[Record]:
    """Return present resources of these types that had one of these business numbers, with the digest."""
    return await connection.fetch(
        f"""SELECT i.digest, {_SEALED} FROM records_identifier i
            JOIN records_resource r ON r.id = i.id AND r.type = i.type
            WHERE i.digest = ANY($1) AND i.type = ANY($2) AND NOT r.deleted""",
        digests,
        types,
    )


async def take_locks(connection: Connection, *, criteria: Iterable[str]) -> None:
    """Keep others who have one of these criteria out until the end of the transaction."""
    numbers = sorted({_lock_number(criterion) for criterion in criteria})
    if len(numbers) > _LOCKS_MOST:
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK_SPACE, _LOCK_ALL)
        return
    await connection.execute(
        """SELECT pg_advisory_xact_lock_shared($1, $2)
           UNION ALL SELECT pg_advisory_xact_lock($1, s.number) FROM (
             SELECT number FROM unnest($3::integer[]) AS n(number) ORDER BY number) AS s""",
        _LOCK_SPACE,
        _LOCK_ALL,
        numbers,
    )


def _lock_number(criterion: str) -> int:
    digest = hashlib.blake2b(criterion.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return max(int.from_bytes(digest, "big") >> 1, _LOCK_ALL + 1)


# Searches


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a search can be decided by without opening contents; None means anything."""

    type: str
    persons: Sequence[int] | None
    about_nobody: bool
    institutions: Sequence[str] | None
    ids: Sequence[str] | None
    digests: Sequence[Sequence[int]]
    masks: Sequence[Sequence[int]]
    starts_before: datetime | None
    ends_after: datetime | None
    updated_from: datetime | None
    updated_before: datetime | None


async def list_candidates(
    connection: Connection, *, wanted: Wanted, with_content: bool, limit: int
) -> list[Record]:
    """Return what fits, at most `limit`, in no order: id, type, version, at, updated_at and the content."""
    values: list[Any] = []
    conditions = ["NOT r.deleted", *_conditions(wanted, values)]
    content = ", r.content" if with_content else ""
    return await connection.fetch(
        f"""SELECT r.id, r.type, r.version, r.at, r.updated_at{content} FROM records_resource r
            WHERE {" AND ".join(conditions)} LIMIT {int(limit)}""",
        *values,
    )


def _conditions(wanted: Wanted, values: list[Any]) -> Iterable[str]:
    def value(one: Any) -> str:
        values.append(one)
        return f"${len(values)}"

    yield f"r.type = {value(wanted.type)}"
    if wanted.persons is not None:
        yield f"r.person = ANY({value(wanted.persons)}::bigint[])"
    elif wanted.about_nobody:
        yield "r.person IS NULL"
    if wanted.institutions is not None:
        yield f"r.institution = ANY({value(wanted.institutions)}::text[])"
    if wanted.ids is not None:
        yield f"r.id = ANY({value(wanted.ids)}::text[])"
    for digests in wanted.digests:
        yield f"""r.id = ANY(ARRAY(SELECT i.id FROM records_identifier i
                  WHERE i.digest = ANY({value(digests)}::bigint[]) AND i.type = $1))"""
    for masks in wanted.masks:
        yield f"EXISTS (SELECT FROM unnest({value(masks)}::bigint[]) AS m(mask) WHERE r.marks & mask = mask)"
    if wanted.starts_before is not None:
        yield f"(r.until IS NULL OR r.at < {value(wanted.starts_before)})"
    if wanted.ends_after is not None:
        yield f"(r.until IS NULL OR r.until > {value(wanted.ends_after)})"
    if wanted.updated_from is not None:
        yield f"r.updated_at >= {value(wanted.updated_from)}"
    if wanted.updated_before is not None:
        yield f"r.updated_at < {value(wanted.updated_before)}"


async def list_all_of(
    connection: Connection,
    *,
    persons: Sequence[int],
    types: Sequence[str] | None,
    since: datetime | None,
    starts_before: datetime | None,
    ends_after: datetime | None,
    limit: int,
) -> list[Record]:
    """Return everything that is there about these persons: their Patients first, then by type and time."""
    return await connection.fetch(
        """SELECT r.id, r.type, r.version FROM records_resource r
           WHERE r.person = ANY($1) AND NOT r.deleted AND ($2::text[] IS NULL OR r.type = ANY($2))
             AND ($3::timestamptz IS NULL OR r.updated_at >= $3)
             AND ($4::timestamptz IS NULL OR r.at IS NULL OR r.at < $4)
             AND ($5::timestamptz IS NULL OR r.until IS NULL OR r.until > $5)
           ORDER BY r.type <> 'Patient', r.type, r.at NULLS LAST, r.id LIMIT $6""",
        persons,
        types,
        since,
        starts_before,
        ends_after,
        limit,
    )


async def save_search(
    connection: Connection,
    *,
    found: Sequence[tuple[str, str, int]],
    persons: Sequence[int],
    principal: str,
    total: int | None,
    now: datetime,
    good_for: timedelta,
) -> int:
    """Keep what a search found (type, id, version), and forget searches that are over; return its number."""
    search: Any = await connection.fetchval(
        """WITH over AS (DELETE FROM records_search WHERE good_until <= $1)
           INSERT INTO records_search (good_until, principal, persons, total, types, ids, versions)
           VALUES ($2, $3, $4, $5, $6, $7, $8) RETURNING search""",
        now,
        now + good_for,
        principal,
        persons,
        total,
        [type_ for type_, _, _ in found],
        [id_ for _, id_, _ in found],
        [version for _, _, version in found],
    )
    return search


async def find_search(
    connection: Connection, *, search: int, principal: str, now: datetime, offset: int, limit: int
) -> Record | None:
    """Return a part of what a search found, and how many it found: to whom it belongs, while it is kept."""
    return await connection.fetchrow(
        """SELECT persons, total, cardinality(ids) AS size, types[$4 + 1:$4 + $5] AS types,
                  ids[$4 + 1:$4 + $5] AS ids, versions[$4 + 1:$4 + $5] AS versions
           FROM records_search WHERE search = $1 AND principal = $2 AND good_until > $3""",
        search,
        principal,
        now,
        offset,
        limit,
    )


# Timelines


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Which of a person's resources are wanted on a timeline; None means any."""

    persons: Sequence[int]
    kinds: Sequence[int] | None
    institutions: Sequence[str] | None
    since: datetime | None
    until: datetime | None


_ON_TIMELINE = """r.person = ANY($1) AND r.kind IS NOT NULL
  AND ($2::smallint[] IS NULL OR r.kind = ANY($2)) AND ($3::text[] IS NULL OR r.institution = ANY($3))
  AND ($4::timestamptz IS NULL OR r.at >= $4) AND ($5::timestamptz IS NULL OR r.at < $5)"""


def _shown(shown: Shown) -> tuple[Any, ...]:
    return shown.persons, shown.kinds, shown.institutions, shown.since, shown.until


async def count_shown(connection: Connection, *, shown: Shown) -> list[Record]:
    """Return the number of entries of each kind, institution and year here; no year for undated ones."""
    return await connection.fetch(
        f"""SELECT r.kind, r.institution, date_part('year', r.at AT TIME ZONE $6::interval)::integer AS year,
                   count(*) AS entries
            FROM records_resource r WHERE {_ON_TIMELINE} GROUP BY 1, 2, 3""",
        *_shown(shown),
        LOCAL.utcoffset(None),
    )


async def list_shown(
    connection: Connection,
    *,
    shown: Shown,
    after: tuple[datetime | None, str, str] | None,
    limit: int,
) -> list[Record]:
    """Return entries by time, newest first, undated last, then by type and id; those after a place in it."""
    at, type_, id_ = after or (None, "", "")
    return await connection.fetch(
        f"""SELECT {_SEALED}, r.kind, r.at FROM records_resource r WHERE {_ON_TIMELINE}
              AND (NOT $6 OR (r.type, r.id) > ($8, $9) AND r.at IS NOT DISTINCT FROM $7::timestamptz
                   OR $7 IS NOT NULL AND (r.at < $7 OR r.at IS NULL))
            ORDER BY r.at DESC NULLS LAST, r.type, r.id LIMIT $10""",
        *_shown(shown),
        after is not None,
        at,
        type_,
        id_,
        limit,
    )


async def list_marked(
    connection: Connection,
    *,
    persons: Sequence[int],
    types: Sequence[str],
    mask: int,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[Record]:
    """Return resources that may have a code, newest first; undated ones are left out."""
    return await connection.fetch(
        f"""SELECT {_SEALED}, r.at FROM records_resource r
            WHERE r.person = ANY($1) AND r.type = ANY($2) AND r.marks & $3 = $3 AND r.at IS NOT NULL
              AND NOT r.deleted AND ($4::timestamptz IS NULL OR r.at >= $4)
              AND ($5::timestamptz IS NULL OR r.at < $5)
            ORDER BY r.at DESC, r.id LIMIT $6""",
        persons,
        types,
        mask,
        since,
        until,
        limit,
    )


async def list_institutions(connection: Connection, *, persons: Sequence[int]) -> list[str]:
    """Return the codes of all institutions that have stored anything about these persons."""
    rows = await connection.fetch(
        """SELECT institution FROM records_resource WHERE person = ANY($1)
           UNION SELECT institution FROM records_document WHERE person = ANY($1)""",
        persons,
    )
    return [row["institution"] for row in rows]


# Documents


async def put_documents(connection: Connection, rows: Sequence[tuple[Any, ...]], *, now: datetime) -> None:
    """Store documents of different ids, given in the order of these, but what is there already."""
    await connection.execute(
        """INSERT INTO records_document (id, person, institution, message, media_type, size, digest, content,
                                         stored_at, version)
           SELECT n.*, $9::timestamptz,
                  coalesce((SELECT max(d.version) FROM records_document d WHERE d.id = n.id), 0) + 1
           FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::integer[],
             $7::bytea[], $8::bytea[])
             AS n(id, person, institution, message, media_type, size, digest, content)
           WHERE NOT EXISTS (SELECT FROM records_document d WHERE d.id = n.id AND d.digest = n.digest)
           ORDER BY n.id
           ON CONFLICT (id, version) DO NOTHING""",
        *(list(column) for column in zip(*rows, strict=True)),
        now,
    )


async def list_document_versions(
    connection: Connection, *, ids: Sequence[str], digests: Sequence[bytes]
) -> dict[tuple[str, bytes], int]:
    """Return under which version these documents are stored."""
    rows = await connection.fetch(
        """SELECT d.id, d.digest, d.version FROM unnest($1::text[], $2::bytea[]) AS n(id, digest)
           JOIN records_document d ON d.id = n.id AND d.digest = n.digest""",
        ids,
        digests,
    )
    return {(row["id"], row["digest"]): row["version"] for row in rows}


async def find_document(connection: Connection, *, id: str, version: int | None) -> Record | None:  # noqa: A002
    """Return a document, its latest version where none is named."""
    return await connection.fetchrow(
        """SELECT id, version, media_type, person, institution, message, stored_at, size, content
           FROM records_document WHERE id = $1 AND ($2::integer IS NULL OR version = $2)
           ORDER BY version DESC LIMIT 1""",
        id,
        version,
    )
