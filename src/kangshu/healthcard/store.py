"""The tables of health cards and all SQL about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kangshu.storage.database import Connection, Record, UniqueViolationError

# Arbitrary, but the same in every process: "cards" read as a number.
_LOCK = 0x6361726473

_CARD = """c.id, c.person, c.registered_at, c.claimed_at, c.valid_until, c.guardian, c.successor, c.revision,
    c.issue, c.status, c.attribute, c.medium, c.way, c.card, c.document, c.sealed, c.institution,
    g.survivor, g.active"""


class CollisionError(Exception):
    """Another transaction stored the same first."""


# Keys


async def lock_keys(connection: Connection) -> None:
    """Let one transaction at a time make keys."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def list_keys(connection: Connection, *, now: datetime) -> list[Record]:
    return await connection.fetch(
        """SELECT kind, version, sealed, good_until FROM healthcard_key
           WHERE good_until IS NULL OR good_until > $1 ORDER BY kind, version""",
        now,
    )


async def last_version(connection: Connection, *, kind: str) -> int:
    return await _value(
        connection, "SELECT coalesce(max(version), 0) FROM healthcard_key WHERE kind = $1", kind
    )


async def add_key(
    connection: Connection, *, kind: str, version: int, sealed: bytes, now: datetime, good_until: datetime
) -> None:
    """Add a version that makes new things from now on; the one before is good until `good_until`."""
    await connection.execute(
        "UPDATE healthcard_key SET good_until = $2 WHERE kind = $1 AND good_until IS NULL", kind, good_until
    )
    await connection.execute(
        "INSERT INTO healthcard_key (kind, version, sealed, made_at) VALUES ($1, $2, $3, $4)",
        kind,
        version,
        sealed,
        now,
    )


# Cards


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCard:
    """One row to be added."""

    person: int
    claimed_at: datetime | None
    valid_until: datetime | None
    guardian: int | None
    root_version: int
    issue: int
    status: int
    attribute: int
    medium: int
    way: int
    strong: bool
    document: bytes
    card: bytes
    index_id: bytes
    sealed: bytes


async def find_documents(connection: Connection, *, documents: Sequence[bytes]) -> list[Record]:
    """Return for each document that ever had a card: the one in force, if any, and how many there were."""
    return await connection.fetch(
        """SELECT d.document, c.id, c.status, c.sealed, c.card, n.issues
           FROM unnest($1::bytea[]) AS d (document)
               LEFT JOIN healthcard_card c ON c.document = d.document AND c.status <> 3
               CROSS JOIN LATERAL (SELECT count(*) AS issues FROM healthcard_card o
                   WHERE o.document = d.document AND o.status = 3) n
           WHERE c.id IS NOT NULL OR n.issues > 0""",
        documents,
    )


async def add_cards(
    connection: Connection, *, cards: Sequence[NewCard], institution: str | None, now: datetime, today: date
) -> dict[bytes, int]:
    """Add cards whose documents have none in force; return the number of each by its document.

    Raises:
        CollisionError: the id of a card exists under another document; nothing was stored, and the
            transaction must go back to a savepoint.
    """
    columns = [[getattr(card, name) for card in cards] for name in NewCard.__slots__]
    try:
        rows = await connection.fetch(
            """WITH added AS (
                   INSERT INTO healthcard_card (person, claimed_at, valid_until, guardian, root_version,
                       issue, status, attribute, medium, way, strong, document, card, index_id, sealed,
                       institution, registered_at)
                   SELECT n.*, $16, $17
                   FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bigint[],
                       $5::integer[], $6::smallint[], $7::smallint[], $8::smallint[], $9::smallint[],
                       $10::smallint[], $11::boolean[], $12::bytea[], $13::bytea[], $14::bytea[],
                       $15::bytea[]) AS n (person, claimed_at, valid_until, guardian, root_version, issue,
                       status, attribute, medium, way, strong, document, card, index_id, sealed)
                   ORDER BY n.document
                   ON CONFLICT (document) WHERE status <> 3 DO NOTHING
                   RETURNING id, document, claimed_at),
               tally AS (
                   INSERT INTO healthcard_issue_tally (day, institution, cards)
                   SELECT $18::date, $16, count(*) FROM added WHERE claimed_at IS NOT NULL
                   HAVING count(*) > 0)
               SELECT id, document FROM added""",
            *columns,
            institution,
            now,
            today,
        )
    except UniqueViolationError as error:
        raise CollisionError from error
    return {row["document"]: row["id"] for row in rows}


async def get_cards(
    connection: Connection, *, cards: Sequence[int], now: datetime, locked: bool = False
) -> list[Record]:
    """Return these cards with who they mean and which card stands for him, by number."""
    if locked:
        await connection.execute(
            "SELECT FROM healthcard_card WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE", cards
        )
    return await connection.fetch(
        f"""SELECT {_CARD} FROM healthcard_card c
            LEFT JOIN healthcard_standing(
                ARRAY(SELECT person FROM healthcard_card WHERE id = ANY ($1::bigint[])), $2) g
            ON g.person = c.person
            WHERE c.id = ANY ($1::bigint[]) ORDER BY c.id""",
        cards,
        now,
    )


async def find_by_card(connection: Connection, *, digests: Sequence[bytes]) -> dict[bytes, int]:
    rows = await connection.fetch(
        "SELECT card, id FROM healthcard_card WHERE card = ANY ($1::bytea[])", digests
    )
    return {row["card"]: row["id"] for row in rows}


async def find_by_document(connection: Connection, *, document: bytes) -> int | None:
    """Return the card in force of the document, else the one that was cancelled last."""
    return await connection.fetchval(
        "SELECT id FROM healthcard_card WHERE document = $1 ORDER BY status = 3, id DESC LIMIT 1", document
    )


async def cards_of_persons(connection: Connection, *, persons: Sequence[int]) -> list[int]:
    rows = await connection.fetch(
        "SELECT id FROM healthcard_card WHERE person = ANY ($1::bigint[]) ORDER BY id DESC", persons
    )
    return [row["id"] for row in rows]


async def has_index(connection: Connection, *, index_id: bytes) -> bool:
    return (
        await _value(
            connection, "SELECT count(*) FROM healthcard_card WHERE index_id = $1 AND status <> 3", index_id
        )
        > 0
    )


async def claim_card(
    connection: Connection,
    *,
    card: int,
    way: int,
    sealed: bytes,
    guardian: int | None,
    institution: str | None,
    now: datetime,
    today: date,
) -> bool:
    """Hand out a card that was made in advance; return whether it still waited."""
    return bool(
        await connection.fetchval(
            """WITH claimed AS (
                   UPDATE healthcard_card SET status = 1, claimed_at = $2, way = $3, sealed = $4,
                       guardian = coalesce($5, guardian), revision = revision + 1
                   WHERE id = $1 AND status = 5 RETURNING id),
               tally AS (
                   INSERT INTO healthcard_issue_tally (day, institution, cards)
                   SELECT $6::date, $7, 1 FROM claimed)
               SELECT count(*) FROM claimed""",
            card,
            now,
            way,
            sealed,
            guardian,
            today,
            institution,
        )
    )


async def set_status(
    connection: Connection, *, card: int, status: int, expected: Sequence[int], successor: int | None = None
) -> bool:
    """Change the status where it is one of the expected; return whether it was."""
    changed = await connection.execute(
        """UPDATE healthcard_card
           SET status = $2, successor = coalesce($4, successor), revision = revision + 1
           WHERE id = $1 AND status = ANY ($3::smallint[])""",
        card,
        status,
        expected,
        successor,
    )
    return changed.endswith(" 1")


async def set_sealed(connection: Connection, *, card: int, sealed: bytes, revision: int) -> bool:
    """Replace what is sealed in a card if nobody changed it since; return whether that was so."""
    changed = await connection.execute(
        """UPDATE healthcard_card SET sealed = $2, revision = revision + 1
           WHERE id = $1 AND revision = $3""",
        card,
        sealed,
        revision,
    )
    return changed.endswith(" 1")


async def expire_temporary(connection: Connection, *, now: datetime, limit: int) -> list[int]:
    """Cancel temporary cards whose time is over, and return them."""
    rows = await connection.fetch(
        """UPDATE healthcard_card SET status = 3, revision = revision + 1
           WHERE id IN (SELECT id FROM healthcard_card
               WHERE attribute = 1 AND status <> 3 AND valid_until <= $1
               ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
           RETURNING id""",
        now,
        limit,
    )
    return [row["id"] for row in rows]


async def add_events(
    connection: Connection,
    *,
    cards: Sequence[int],
    kind: str,
    actor: str,
    institution: str | None,
    now: datetime,
    other: int | None = None,
    reason: bytes | None = None,
) -> None:
    await connection.execute(
        """INSERT INTO healthcard_event (card, other, at, kind, actor, institution, reason)
           SELECT card, $2, $3, $4, $5, $6, $7 FROM unnest($1::bigint[]) AS c (card)""",
        cards,
        other,
        now,
        kind,
        actor,
        institution,
        reason,
    )


async def list_events(connection: Connection, *, card: int, limit: int) -> list[Record]:
    return await connection.fetch(
        """SELECT card, at, kind, actor, institution, reason FROM healthcard_event
           WHERE card = $1 ORDER BY id DESC LIMIT $2""",
        card,
        limit,
    )


# Codes


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One code that was read; `verdict` is a refusal known without asking, empty where there is none."""

    card: bytes | None
    temporary: bool
    mark: bytes | None
    ends: datetime | None
    terminal: str
    institution: str
    scene: str
    verdict: str


async def scan(
    connection: Connection, *, readings: Sequence[Reading], reuse: str, now: datetime, today: date
) -> list[Record]:
    """Return what each reading came to, in order; dynamic codes are marked as seen, and all are counted."""
    columns = [[getattr(one, name) for one in readings] for name in Reading.__slots__]
    return await connection.fetch(
        "SELECT * FROM healthcard_scan($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        *columns,
        reuse,
        now,
        today,
    )


async def prune_seen(connection: Connection, *, now: datetime, limit: int) -> int:
    """Forget marks of codes that are over."""
    status = await connection.execute(
        """DELETE FROM healthcard_seen WHERE mark IN
           (SELECT mark FROM healthcard_seen WHERE expires_at <= $1 ORDER BY mark LIMIT $2
            FOR UPDATE SKIP LOCKED)""",
        now,
        limit,
    )
    return int(status.split()[-1])


# Family


async def list_family(connection: Connection, *, card: int, ended: bool = True) -> list[Record]:
    return await connection.fetch(
        """SELECT card, member, relation, guardian, since, ended_at FROM healthcard_family
           WHERE card = $1 AND ($2 OR ended_at IS NULL) ORDER BY id""",
        card,
        ended,
    )


async def count_family(connection: Connection, *, card: int) -> int:
    return await _value(
        connection, "SELECT count(*) FROM healthcard_family WHERE card = $1 AND ended_at IS NULL", card
    )


async def add_family(
    connection: Connection, *, card: int, member: int, relation: str, guardian: bool, now: datetime
) -> Record:
    """Add a member, or return the one that is there."""
    return (
        await connection.fetch(
            """INSERT INTO healthcard_family (card, member, relation, guardian, since)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (card, member) WHERE ended_at IS NULL
                   DO UPDATE SET relation = $3, guardian = healthcard_family.guardian OR $4
               RETURNING card, member, relation, guardian, since, ended_at""",
            card,
            member,
            relation,
            guardian,
            now,
        )
    )[0]


async def end_family(connection: Connection, *, card: int, member: int, now: datetime) -> Record | None:
    return await connection.fetchrow(
        """UPDATE healthcard_family SET ended_at = $3 WHERE card = $1 AND member = $2 AND ended_at IS NULL
           RETURNING card, member, relation, guardian, since, ended_at""",
        card,
        member,
        now,
    )


# Other codes

_BINDING = "id, card, system, issuer, digest, sealed, bound_at, ended_at"


async def add_binding(
    connection: Connection,
    *,
    card: int,
    system: str,
    issuer: str,
    digest: bytes,
    sealed: bytes,
    counted: bool,
    now: datetime,
) -> Record | None:
    """Bind a value, or return None where it is bound already."""
    return await connection.fetchrow(
        f"""INSERT INTO healthcard_binding (card, system, issuer, digest, sealed, counted, bound_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) WHERE ended_at IS NULL DO NOTHING
            RETURNING {_BINDING}""",
        card,
        system,
        issuer,
        digest,
        sealed,
        counted,
        now,
    )


async def find_binding(connection: Connection, *, digest: bytes) -> Record | None:
    return await connection.fetchrow(
        f"SELECT {_BINDING} FROM healthcard_binding WHERE digest = $1 AND ended_at IS NULL", digest
    )


async def end_binding(connection: Connection, *, binding: int, now: datetime) -> Record | None:
    return await connection.fetchrow(
        f"""UPDATE healthcard_binding SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL
            RETURNING {_BINDING}""",
        binding,
        now,
    )


async def list_bindings(connection: Connection, *, cards: Sequence[int], limit: int) -> list[Record]:
    return await connection.fetch(
        f"""SELECT {_BINDING} FROM healthcard_binding
            WHERE card = ANY ($1::bigint[]) AND ended_at IS NULL ORDER BY id LIMIT $2""",
        cards,
        limit,
    )


# Use records


@dataclass(frozen=True, kw_only=True, slots=True)
class NewUse:
    """One use record to be added."""

    key: bytes
    card: int
    used_at: datetime
    off_card: bool
    scene: str
    medium: str
    department: str | None
    terminal: str | None
    terminal_type: str | None
    channel: str | None
    cost_type: str | None
    visit_type: str | None


async def add_uses(
    connection: Connection, *, uses: Sequence[NewUse], institution: str, now: datetime, zone: str
) -> set[bytes]:
    """Add use records, and return the keys of those that were not there."""
    columns = [[getattr(one, name) for one in uses] for name in NewUse.__slots__]
    rows = await connection.fetch(
        """SELECT * FROM healthcard_record_uses($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
               $15) AS u (key)""",
        *columns,
        institution,
        now,
        zone,
    )
    return {row["key"] for row in rows}


async def registered_at(connection: Connection, *, cards: Sequence[int]) -> dict[int, datetime]:
    rows = await connection.fetch(
        "SELECT id, registered_at FROM healthcard_card WHERE id = ANY ($1::bigint[])", cards
    )
    return {row["id"]: row["registered_at"] for row in rows}


async def list_uses(connection: Connection, *, cards: Sequence[int], limit: int) -> list[Record]:
    return await connection.fetch(
        """SELECT card, used_at, told_at, off_card, institution, scene, medium, department, terminal,
               terminal_type, channel, cost_type, visit_type
           FROM healthcard_use WHERE card = ANY ($1::bigint[]) ORDER BY used_at DESC LIMIT $2""",
        cards,
        limit,
    )


# Regions


async def find_home(connection: Connection, *, index_id: bytes) -> str | None:
    return await connection.fetchval("SELECT region FROM healthcard_home WHERE index_id = $1", index_id)


async def add_homes(
    connection: Connection, *, indexes: Sequence[bytes], regions: Sequence[str], now: datetime
) -> int:
    status = await connection.execute(
        """INSERT INTO healthcard_home (index_id, region, told_at)
           SELECT DISTINCT ON (index_id) index_id, region, $3
           FROM unnest($1::bytea[], $2::text[]) WITH ORDINALITY AS h (index_id, region, place)
           ORDER BY index_id, place DESC
           ON CONFLICT (index_id) DO UPDATE SET region = EXCLUDED.region, told_at = EXCLUDED.told_at""",
        indexes,
        regions,
        now,
    )
    return int(status.split()[-1])


# Counts

_TALLIES = {
    "healthcard_card_tally": ("status, attribute, way, claimed, institution", ("cards",)),
    "healthcard_issue_tally": ("day, institution", ("cards",)),
    "healthcard_use_tally": ("day, institution, scene", ("uses", "off_card")),
    "healthcard_scan_tally": ("day, institution, scene, refusal", ("scans",)),
}


async def put_together(connection: Connection) -> None:
    """Put the rows of one key of each tally together; who adds rows meanwhile does not wait."""
    await lock_keys(connection)
    for table, (key, sums) in _TALLIES.items():
        totals = ", ".join(f"sum({name})" for name in sums)
        await connection.execute(
            f"""WITH taken AS (DELETE FROM {table} RETURNING {key}, {", ".join(sums)})
                INSERT INTO {table} ({key}, {", ".join(sums)})
                SELECT {key}, {totals} FROM taken GROUP BY {key}"""
        )


async def sum_cards(connection: Connection, *, institutions: Sequence[str] | None) -> list[Record]:
    return await connection.fetch(
        """SELECT status, attribute, way, claimed, sum(cards)::bigint AS cards FROM healthcard_card_tally
           WHERE $1::text[] IS NULL OR institution = ANY ($1) GROUP BY 1, 2, 3, 4 HAVING sum(cards) <> 0""",
        institutions,
    )


async def sum_issued(
    connection: Connection, *, since: date, until: date, institutions: Sequence[str] | None
) -> list[Record]:
    return await connection.fetch(
        """SELECT day, sum(cards)::bigint AS cards FROM healthcard_issue_tally
           WHERE day >= $1 AND day < $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
           GROUP BY day ORDER BY day""",
        since,
        until,
        institutions,
    )


async def sum_uses(
    connection: Connection, *, since: date, until: date, institutions: Sequence[str] | None
) -> list[Record]:
    return await connection.fetch(
        """SELECT day, institution, scene, sum(uses)::bigint AS uses, sum(off_card)::bigint AS off_card
           FROM healthcard_use_tally
           WHERE day >= $1 AND day < $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
           GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        since,
        until,
        institutions,
    )


async def sum_scans(
    connection: Connection, *, since: date, until: date, institutions: Sequence[str] | None
) -> list[Record]:
    return await connection.fetch(
        """SELECT institution, refusal, sum(scans)::bigint AS scans FROM healthcard_scan_tally
           WHERE day >= $1 AND day < $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
           GROUP BY 1, 2 ORDER BY 1, 2""",
        since,
        until,
        institutions,
    )


async def count_fused(connection: Connection, *, institutions: Sequence[str] | None) -> int:
    """Return how many cards in force have another code bound to them that counts."""
    return await _value(
        connection,
        """SELECT count(*) FROM healthcard_card c WHERE c.status = 1
               AND ($1::text[] IS NULL OR c.institution = ANY ($1))
               AND c.id IN (SELECT card FROM healthcard_binding WHERE ended_at IS NULL AND counted)""",
        institutions,
    )


async def count_members(connection: Connection, *, institutions: Sequence[str] | None) -> int:
    return await _value(
        connection,
        """SELECT count(*) FROM healthcard_family f JOIN healthcard_card c ON c.id = f.card
           WHERE f.ended_at IS NULL AND ($1::text[] IS NULL OR c.institution = ANY ($1))""",
        institutions,
    )


async def _value(connection: Connection, statement: str, *values: object) -> int:
    found = await connection.fetchval(statement, *values)
    assert found is not None, "an aggregate always has a value"
    return found
