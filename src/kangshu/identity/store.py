"""All SQL of the person index. Whole columns go in and out; ids, digests and days are numbers.

Every statement that looks things up by a column of a temporary table runs with hash and merge joins off:
the planner knows nothing of a table filled a moment ago, and reading one index entry per row is always
right here, while reading the whole index, its other idea, grows with the region.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg
import numpy as np

from kangshu.identity.evidence import Digests, Holders, Ints, Persons
from kangshu.identity.model import IdentifierKind, Review, ReviewReason, ReviewState
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.identity.outcome import digest_array
from kangshu.storage.copying import copy_in, copy_out
from kangshu.storage.database import Connection, Record

# "identity" read as a number: the lock by which one bulk file at a time creates persons.
_BULK_LOCK = 0x6964656E74697479

_BY_INDEX = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off"
)
_AS_BEFORE = """SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT;
                SET LOCAL enable_bitmapscan TO DEFAULT"""

_PERSON = """p.id, p.name_sealed, p.name_digest, p.sex, p.birth_date, p.phone_sealed,
             p.created_at, p.origin, n.sealed AS number_sealed, n.digest AS number_digest"""
# The number that the person owns: the disputed ones stay among the identifiers.
_NUMBER = """LEFT JOIN LATERAL (SELECT i.sealed, i.digest FROM identity_identifier i
                WHERE i.person = p.id AND i.kind = 1 AND NOT i.disputed
                ORDER BY i.variant, i.digest LIMIT 1) n ON true"""
_MERGE = "id, survivor, absorbed, at, actor, reason, origin, undone_at, undone_by, weight, model"
_REVIEW = """id, person, other, kind, issuer, reason, state, origin, created_at, decided_at, decided_by,
             account"""


class CollisionError(Exception):
    """Somebody else stored or changed the same identifiers or persons; look them up again."""


async def begin(connection: Connection) -> int:
    """Return the number of the running transaction, having made its temporary tables where they lack."""
    rows = await connection.fetch(
        """SELECT pg_current_xact_id()::text::bigint AS number,
                  to_regclass('pg_temp.identity_arrival') IS NOT NULL AS ready"""
    )
    if not rows[0]["ready"]:
        await connection.execute(
            """CREATE TEMP TABLE identity_arrival (slot bigint NOT NULL, digest bytea STORAGE PLAIN NOT NULL)
                   ON COMMIT DROP;
               CREATE TEMP TABLE identity_touched (person bigint NOT NULL) ON COMMIT DROP"""
        )
    return rows[0]["number"]


async def take_bulk_lock(connection: Connection) -> None:
    """Wait until no other bulk file creates persons; the lock ends with the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _BULK_LOCK)


async def find_holders(connection: Connection, *, slots: Ints, digests: Digests, limit: int) -> Holders:
    """Return who holds the identifiers with these digests, at most `limit` holders each."""
    await connection.execute("TRUNCATE identity_arrival")
    await copy_in(
        connection, table="identity_arrival", columns={"slot": slots, "digest": digest_array(digests)}
    )
    async with _by_index(connection):
        found = await copy_out(
            connection,
            query=f"""SELECT a.slot, i.variant::bigint, i.person, i.disputed::integer::bigint
                FROM identity_arrival a JOIN identity_identifier i ON i.digest = a.digest
                WHERE i.variant < {int(limit)}""",
            columns=["slot", "variant", "person", "disputed"],
        )
    return Holders(
        slot=found["slot"],
        variant=found["variant"],
        person=found["person"],
        disputed=found["disputed"].astype(np.bool_),
        stands_in=np.zeros(len(found["slot"]), dtype=np.bool_),
    )


async def read_persons(connection: Connection, *, persons: Ints) -> Persons:
    """Return what is known of these persons (each named once, ascending)."""
    await connection.execute("TRUNCATE identity_touched")
    await copy_in(connection, table="identity_touched", columns={"person": persons})
    names = [
        *("person", "name", "former_name", "birth", "former_birth", "resident", "survivor"),
        *("has_sex", "has_phone", "seen"),
    ]
    async with _by_index(connection):
        found = await copy_out(
            connection,
            query=f"""SELECT p.id, coalesce(p.name_digest, 0), coalesce(p.former_name, 0),
                    coalesce(p.birth_date - DATE '1970-01-01', {UNKNOWN_DAY})::bigint,
                    coalesce(p.former_birth - DATE '1970-01-01', {UNKNOWN_DAY})::bigint,
                    coalesce(p.resident, 0), coalesce(p.survivor, 0),
                    (p.sex IS NOT NULL)::integer::bigint, (p.phone_sealed IS NOT NULL)::integer::bigint,
                    p.revision::bigint
                FROM identity_touched t JOIN identity_person p ON p.id = t.person""",
            columns=names,
        )
    order = np.argsort(found["person"])
    return Persons(
        person=found["person"][order],
        name=found["name"][order],
        former_name=found["former_name"][order],
        birth=found["birth"][order],
        former_birth=found["former_birth"][order],
        resident=found["resident"][order],
        survivor=found["survivor"][order],
        has_sex=found["has_sex"][order].astype(np.bool_),
        has_phone=found["has_phone"][order].astype(np.bool_),
        seen=found["seen"][order],
    )


async def take_person_ids(connection: Connection, *, count: int) -> Ints:
    """Return that many person ids that nobody ever had."""
    query = f"SELECT nextval('identity_person_id') FROM generate_series(1, {int(count)})"
    return (await copy_out(connection, query=query, columns=["id"]))["id"]


async def add_persons(connection: Connection, *, columns: Mapping[str, Any], day: date) -> None:
    """Add new persons and count them for `day`."""
    count = await copy_in(connection, table="identity_person", columns=columns)
    await connection.execute("INSERT INTO identity_tally (day, persons) VALUES ($1, $2)", day, count)


async def add_identifiers(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add holders of identifiers, given in ascending order of digest.

    Raises:
        CollisionError: another transaction added one of them first; this one must go back to a savepoint.
    """
    try:
        await copy_in(connection, table="identity_identifier", columns=columns)
    except asyncpg.UniqueViolationError as error:
        raise CollisionError from error


async def change_persons(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Give persons the facts that are not null; `seen` is the revision that was read.

    Raises:
        CollisionError: one of them was changed since; this transaction must go back to a savepoint.
    """
    await connection.execute(
        """DROP TABLE IF EXISTS pg_temp.identity_change;
           CREATE TEMP TABLE identity_change (person bigint, seen bigint, name_sealed bytea,
               name_digest bigint, sex smallint, phone_sealed bytea, birth_date date,
               resident bigint) ON COMMIT DROP"""
    )
    expected = await copy_in(connection, table="identity_change", columns=columns)
    async with _by_index(connection):
        status = await connection.execute(
            """UPDATE identity_person p SET
                   name_sealed = coalesce(c.name_sealed, p.name_sealed),
                   name_digest = coalesce(c.name_digest, p.name_digest),
                   sex = coalesce(c.sex, p.sex),
                   phone_sealed = coalesce(c.phone_sealed, p.phone_sealed),
                   birth_date = coalesce(c.birth_date, p.birth_date),
                   resident = coalesce(c.resident, p.resident),
                   revision = p.revision + 1
               FROM identity_change c WHERE p.id = c.person AND p.revision = c.seen"""
        )
    if int(status.rsplit(" ", 1)[-1]) != expected:
        raise CollisionError


async def settle_identifiers(
    connection: Connection, *, digests: Sequence[bytes], variants: Sequence[int]
) -> None:
    """Mark these holdings as no longer disputed."""
    await connection.execute(
        """UPDATE identity_identifier i SET disputed = false
           FROM unnest($1::bytea[], $2::smallint[]) AS s (digest, variant)
           WHERE i.digest = s.digest AND i.variant = s.variant""",
        digests,
        variants,
    )


async def add_name_parts(connection: Connection, *, digests: Sequence[int], persons: Sequence[int]) -> None:
    """Add parts of names by which persons are found; those that are there already stay."""
    await connection.execute(
        """INSERT INTO identity_name_part (digest, person)
           SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING""",
        digests,
        persons,
    )


async def add_unmatched(connection: Connection, *, first: int, last: int, origin: int | None) -> None:
    """Note that the persons whom `origin` created with ids from `first` to `last` are not compared yet."""
    await connection.execute(
        "INSERT INTO identity_unmatched (first, last, origin) VALUES ($1, $2, $3)", first, last, origin
    )


async def take_unmatched(connection: Connection) -> Record | None:
    """Return a span of persons that wait to be compared and on which nobody else works, the oldest first."""
    return await connection.fetchrow(
        """SELECT id, first, last, origin, anyway FROM identity_unmatched
           ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"""
    )


async def read_unmatched(connection: Connection, *, span: Record, limit: int) -> list[Record]:
    """Return the persons of the span who have no profile, by id, as sealed; `root` stands for each."""
    return await connection.fetch(
        """SELECT p.id, coalesce(p.survivor, p.id) AS root, p.name_sealed, p.phone_sealed, p.sex,
               p.birth_date, p.resident
           FROM identity_person p
           WHERE p.id BETWEEN $1 AND $2 AND ($4 OR p.origin IS NOT DISTINCT FROM $3)
               AND NOT EXISTS (SELECT FROM identity_profile f WHERE f.person = p.id)
           ORDER BY p.id LIMIT $5""",
        span["first"],
        span["last"],
        span["origin"],
        span["anyway"],
        limit,
    )


async def advance_unmatched(connection: Connection, *, span: Record, done: int) -> None:
    """Note that the persons of the span up to `done` are compared."""
    if done >= span["last"]:
        await connection.execute("DELETE FROM identity_unmatched WHERE id = $1", span["id"])
    else:
        await connection.execute(
            "UPDATE identity_unmatched SET first = $2 WHERE id = $1", span["id"], done + 1
        )


async def reviewed_pairs(connection: Connection, *, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those of the pairs (the smaller id first) about whom there is a review entry, in any state."""
    rows = await connection.fetch(
        """SELECT t.one, t.other FROM unnest($1::bigint[], $2::bigint[]) AS t (one, other)
           WHERE EXISTS (SELECT FROM identity_review r WHERE r.person = t.one AND r.other = t.other)
               OR EXISTS (SELECT FROM identity_review r WHERE r.person = t.other AND r.other = t.one)""",
        *_turned(pairs, 2),
    )
    return {(row["one"], row["other"]) for row in rows}


async def note_merge(connection: Connection, *, one: int, other: int, merge: int) -> None:
    """Write to the newest account of the two which merge followed from it."""
    await connection.execute(
        """UPDATE identity_account SET merge = $3 WHERE id = (SELECT max(id) FROM identity_account
               WHERE person = $1 AND other = $2 AND verdict = 'link' AND merge IS NULL)""",
        one,
        other,
        merge,
    )


async def add_reviews(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add open review entries."""
    await copy_in(connection, table="identity_review", columns=columns)


async def add_events(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add to what happened."""
    await copy_in(connection, table="identity_event", columns=columns)


async def find_known(connection: Connection, *, digests: Sequence[bytes], limit: int) -> list[Record]:
    """Return who holds these identifiers and what is known of them, at most `limit` holders each.

    `slot` is the digest's place, from 0. Days are numbers, NULL where unknown.
    """
    return await connection.fetch("SELECT * FROM identity_known($1, $2)", digests, limit)


async def find_candidates(
    connection: Connection, *, digests: Sequence[int], holders: int, profiles: int
) -> list[Record]:
    """Return who is found under these blocking keys: two kinds of rows, as the function's comment tells.

    A key with `holders` or more of them finds nobody; of a person at most so many `profiles` are read.
    """
    return await connection.fetch("SELECT * FROM identity_candidates($1, $2, $3)", digests, holders, profiles)


async def list_accounts(
    connection: Connection,
    *,
    account: int | None = None,
    some: Sequence[int] = (),
    others: Sequence[int] | None = None,
    limit: int,
) -> list[Record]:
    """Return the account, or those of `some` persons (with one of `others`, where given), newest first."""
    columns = """id, person, other, origin, at, actor, weight, prior, verdict, model, parts, guards, merge"""
    if account is not None:
        return await connection.fetch(f"SELECT {columns} FROM identity_account WHERE id = $1", account)
    return await connection.fetch(
        f"""SELECT {columns} FROM identity_account
            WHERE id IN (
                SELECT id FROM identity_account WHERE person = ANY ($1::bigint[])
                    AND ($2::bigint[] IS NULL OR other = ANY ($2::bigint[]))
                UNION ALL SELECT id FROM identity_account WHERE other = ANY ($1::bigint[])
                    AND ($2::bigint[] IS NULL OR person = ANY ($2::bigint[])))
            ORDER BY id DESC LIMIT $3""",
        list(some),
        None if others is None else list(others),
        limit,
    )


async def read_facts(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return what is known of these persons, in the form of `find_known`."""
    return await connection.fetch(
        """SELECT id, revision, name_digest AS name, former_name, birth_date - DATE '1970-01-01' AS birth,
               former_birth - DATE '1970-01-01' AS former_birth, resident, survivor, sex, name_sealed,
               phone_sealed
           FROM identity_person WHERE id = ANY ($1::bigint[])""",
        persons,
    )


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """Rows to be added at once; a negative person -1 is the first of `persons`, -2 the second, and so on.

    `persons`: name_digest, name_sealed, phone_sealed, birth, sex, resident, former_name, former_birth.
    `identifiers`: digest, variant, kind, disputed, sealed, issuer, person; ascending by digest.
    `reviews`: person, other, kind, reason, digest, issuer, place of the account from 1 or None.
    `parts`: digest, person. `profiles`: digest, sealed, person. `keys`: digest, variant, person; ascending.
    `accounts`: person, other, verdict, weight, prior, model, parts (JSON), guards (JSON), digests of the
    identifiers of what was linked, one after the other, or None. `unmatched`: the new persons wait to be
    compared.
    """

    persons: Sequence[tuple[Any, ...]] = ()
    identifiers: Sequence[tuple[Any, ...]] = ()
    reviews: Sequence[tuple[Any, ...]] = ()
    parts: Sequence[tuple[Any, ...]] = ()
    profiles: Sequence[tuple[Any, ...]] = ()
    keys: Sequence[tuple[Any, ...]] = ()
    accounts: Sequence[tuple[Any, ...]] = ()
    unmatched: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to add."""
        return any(
            (
                self.persons,
                self.identifiers,
                self.reviews,
                self.parts,
                self.profiles,
                self.keys,
                self.accounts,
            )
        )


_ADD_PERSONS = """WITH new AS MATERIALIZED (
        SELECT -n.place AS place, nextval('identity_person_id') AS id, n.name_digest, n.name_sealed,
            n.phone_sealed, n.birth, n.sex, n.resident, n.former_name, n.former_birth
        FROM unnest($4::bigint[], $5::bytea[], $6::bytea[], $7::integer[], $8::smallint[], $9::bigint[],
                $10::bigint[], $11::integer[])
            WITH ORDINALITY AS n (name_digest, name_sealed, phone_sealed, birth, sex, resident, former_name,
                former_birth, place)),
    persons AS (INSERT INTO identity_person
            (id, name_digest, name_sealed, phone_sealed, birth_date, sex, resident, former_name, former_birth,
                origin, created_at)
        SELECT id, name_digest, name_sealed, phone_sealed, DATE '1970-01-01' + birth, sex, resident,
            former_name, DATE '1970-01-01' + former_birth, $1, $2
        FROM new),
    tally AS (INSERT INTO identity_tally (day, persons)
        SELECT $3::date, count(*) FROM new HAVING count(*) > 0),
    holders AS (INSERT INTO identity_identifier
            (person, origin, seen_at, kind, variant, disputed, digest, sealed, issuer)
        SELECT coalesce(new.id, h.person), $1, $2, h.kind, h.variant, h.disputed, h.digest, h.sealed, h.issuer
        FROM unnest($12::bytea[], $13::smallint[], $14::smallint[], $15::boolean[], $16::bytea[], $17::text[],
                $18::bigint[]) AS h (digest, variant, kind, disputed, sealed, issuer, person)
            LEFT JOIN new ON new.place = h.person
        ORDER BY h.digest, h.variant),
    issuers AS (INSERT INTO identity_issuer (issuer, seen_at)
        SELECT i.issuer, $2 FROM (SELECT DISTINCT issuer FROM unnest($17::text[]) AS i (issuer)) i
        WHERE i.issuer IS NOT NULL
            AND NOT EXISTS (SELECT FROM identity_issuer k WHERE k.issuer = i.issuer)
        ORDER BY 1 ON CONFLICT DO NOTHING)"""
_ADD_ACCOUNTS = """, why AS MATERIALIZED (
        SELECT a.place, nextval('identity_account_id') AS id, coalesce(one.id, a.person) AS person,
            coalesce(two.id, a.other) AS other, a.verdict, a.weight, a.prior, a.model, a.parts, a.guards,
            a.digests
        FROM unnest($%d::bigint[], $%d::bigint[], $%d::text[], $%d::double precision[],
                $%d::double precision[], $%d::text[], $%d::text[], $%d::text[], $%d::bytea[])
            WITH ORDINALITY AS a (person, other, verdict, weight, prior, model, parts, guards, digests, place)
            LEFT JOIN new one ON one.place = a.person LEFT JOIN new two ON two.place = a.other),
    accounts AS (INSERT INTO identity_account
            (id, person, other, origin, at, actor, verdict, weight, prior, model, parts, guards, digests)
        SELECT id, person, other, $1, $2, $%d, verdict, weight, prior, model, parts::jsonb,
            ARRAY(SELECT jsonb_array_elements_text(guards::jsonb)),
            CASE WHEN digests IS NOT NULL THEN ARRAY(SELECT substring(digests FROM n FOR 16)
                FROM generate_series(1, length(digests), 16) n) END
        FROM why),
    linked AS (INSERT INTO identity_event (person, kind, origin, at, actor, account)
        SELECT person, 6, $1, $2, $%d, id FROM why WHERE verdict = 'link' AND other IS NULL ORDER BY id)"""
_ADD_REVIEWS = """, reviews AS (INSERT INTO identity_review
            (person, other, kind, reason, digest, issuer, origin, created_at, account)
        SELECT coalesce(one.id, r.person), coalesce(two.id, r.other), r.kind, r.reason, r.digest, r.issuer,
            $1, $2, {account}
        FROM unnest($%d::bigint[], $%d::bigint[], $%d::smallint[], $%d::text[], $%d::bytea[], $%d::text[],
                $%d::bigint[]) AS r (person, other, kind, reason, digest, issuer, account)
            LEFT JOIN new one ON one.place = r.person LEFT JOIN new two ON two.place = r.other)"""
_ADD_PARTS = """, parts AS (INSERT INTO identity_name_part (digest, person)
        SELECT DISTINCT n.digest, coalesce(new.id, n.person)
        FROM unnest($%d::bigint[], $%d::bigint[]) AS n (digest, person)
            LEFT JOIN new ON new.place = n.person
        ORDER BY 1, 2 ON CONFLICT DO NOTHING)"""
_ADD_PROFILES = """, profiles AS (INSERT INTO identity_profile (digest, sealed, person, origin, at)
        SELECT f.digest, f.sealed, coalesce(new.id, f.person), $1, $2
        FROM unnest($%d::bigint[], $%d::bytea[], $%d::bigint[]) AS f (digest, sealed, person)
            LEFT JOIN new ON new.place = f.person
        ORDER BY 3, 1 ON CONFLICT DO NOTHING)"""
_ADD_KEYS = """, keys AS (INSERT INTO identity_key (digest, variant, person)
        SELECT k.digest, k.variant, coalesce(new.id, k.person)
        FROM unnest($%d::bigint[], $%d::smallint[], $%d::bigint[]) AS k (digest, variant, person)
            LEFT JOIN new ON new.place = k.person
        ORDER BY 1, 2)"""
_ADD_UNMATCHED = """, unmatched AS (INSERT INTO identity_unmatched (first, last, origin)
        SELECT min(id), max(id), $1 FROM new HAVING count(*) > 0)"""


async def add_new(
    connection: Connection, rows: NewRows, *, origin: int | None, actor: str, now: datetime
) -> list[int]:
    """Add all these rows in one statement; return the ids of the persons.

    A record that was linked to a person by its account is an event of that person.

    Raises:
        CollisionError: another transaction added one of the holders first, of an identifier or of a key;
            this one must go back to a savepoint.
    """
    text = _ADD_PERSONS
    values = [origin, now, now.date(), *_turned(rows.persons, 8), *_turned(rows.identifiers, 7)]
    if rows.accounts:
        places = range(len(values) + 1, len(values) + 10)
        text += _ADD_ACCOUNTS % (*places, places.stop, places.stop)
        values += [*_turned(rows.accounts, 9), actor]
    weighed = "(SELECT why.id FROM why WHERE why.place = r.account)" if rows.accounts else "r.account"
    for statement, given, width in (
        (_ADD_REVIEWS.replace("{account}", weighed), rows.reviews, 7),
        (_ADD_PARTS, rows.parts, 2),
        (_ADD_PROFILES, rows.profiles, 3),
        (_ADD_KEYS, rows.keys, 3),
    ):
        if given:
            text += statement % tuple(range(len(values) + 1, len(values) + 1 + width))
            values += _turned(given, width)
    if rows.unmatched:
        text += _ADD_UNMATCHED
    try:
        found = await connection.fetch(f"{text} SELECT id FROM new ORDER BY place DESC", *values)
    except asyncpg.UniqueViolationError as error:
        raise CollisionError from error
    return [row["id"] for row in found]


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """What is learnt of known persons.

    `persons`: person, revision seen, name_sealed, name_digest, sex, phone_sealed, birth, resident,
    former_name, former_birth; None leaves a fact as it was. `events`: person, kind, name_sealed,
    phone_sealed, birth, sex (what was before). `settlements`: digest, variant.
    """

    persons: Sequence[tuple[Any, ...]] = ()
    events: Sequence[tuple[Any, ...]] = ()
    settlements: Sequence[tuple[Any, ...]] = ()


async def change_known(
    connection: Connection, rows: ChangedRows, *, origin: int | None, actor: str, now: datetime
) -> None:
    """Change persons, note what happened and mark holdings as no longer disputed, in one statement.

    Raises:
        CollisionError: one of the persons was changed since it was read; this transaction must go back to
            a savepoint.
    """
    changed = await connection.fetchval(
        """WITH happened AS (INSERT INTO identity_event
                (person, kind, name_sealed, phone_sealed, birth_date, sex, origin, actor, at)
            SELECT e.person, e.kind, e.name_sealed, e.phone_sealed, DATE '1970-01-01' + e.birth, e.sex,
                $1, $2, $3
            FROM unnest($4::bigint[], $5::smallint[], $6::bytea[], $7::bytea[], $8::integer[], $9::smallint[])
                WITH ORDINALITY AS e (person, kind, name_sealed, phone_sealed, birth, sex, place)
            ORDER BY e.place),
        settled AS (UPDATE identity_identifier i SET disputed = false
            FROM unnest($10::bytea[], $11::smallint[]) AS s (digest, variant)
            WHERE i.digest = s.digest AND i.variant = s.variant)
        SELECT identity_learn($12, $13, $14, $15, $16, $17, $18, $19, $20, $21)""",
        origin,
        actor,
        now,
        *_turned(rows.events, 6),
        *_turned(rows.settlements, 2),
        *_turned(rows.persons, 10),
    )
    if changed != len(rows.persons):
        raise CollisionError


async def read_groups(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return for each of these persons `survivor`, the one that stands for it, and each `member` of its
    group beside that one (NULL: nobody was merged into it); persons that do not exist are left out."""
    return await connection.fetch(
        "SELECT * FROM identity_groups($1) ORDER BY id, member", sorted(set(persons))
    )


async def lock_persons(connection: Connection, *, persons: Sequence[int]) -> None:
    """Let nobody else merge or change these persons until the transaction ends; taken in order of id."""
    await connection.execute(
        """SELECT FROM identity_person WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE""", persons
    )


async def add_merge(
    connection: Connection,
    *,
    survivor: int,
    absorbed: int,
    followers: Sequence[int],
    actor: str,
    reason: str,
    origin: int | None,
    now: datetime,
    weight: float | None = None,
    model: str | None = None,
) -> Record:
    """Point `followers` (the absorbed person and who was merged into it) at the survivor; note it."""
    merge = await connection.fetchrow(
        f"""WITH pointed AS (UPDATE identity_person SET survivor = $1 WHERE id = ANY ($3::bigint[]))
            INSERT INTO identity_merge (survivor, absorbed, at, actor, reason, origin, weight, model)
            VALUES ($1, $2, $4, $5, $6, $7, $8, $9) RETURNING {_MERGE}""",
        survivor,
        absorbed,
        followers,
        now,
        actor,
        reason,
        origin,
        weight,
        model,
    )
    assert merge is not None, "what was inserted is returned"
    return merge


async def point_at(connection: Connection, *, person: int, survivor: int) -> None:
    """Let the person be one for whom the survivor stands."""
    await connection.execute("UPDATE identity_person SET survivor = $2 WHERE id = $1", person, survivor)


async def close_reviews_between(
    connection: Connection,
    *,
    merge: int,
    some: Sequence[int],
    others: Sequence[int],
    actor: str,
    note: str,
    now: datetime,
) -> None:
    """Write to the open review entries between two groups of persons that they are one, by this merge."""
    await connection.execute(
        """UPDATE identity_review
           SET state = 'same', decided_at = $2, decided_by = $3, note = nullif($4, ''), merge = $1
           WHERE state = 'open' AND (person = ANY ($5::bigint[]) AND other = ANY ($6::bigint[])
               OR person = ANY ($6::bigint[]) AND other = ANY ($5::bigint[]))""",
        merge,
        now,
        actor,
        note,
        some,
        others,
    )


async def reopen_reviews(connection: Connection, *, merge: int) -> None:
    """Open again the review entries that this merge closed."""
    await connection.execute(
        """UPDATE identity_review
           SET state = 'open', decided_at = NULL, decided_by = NULL, note = NULL, merge = NULL
           WHERE merge = $1""",
        merge,
    )


async def list_merges(
    connection: Connection, *, persons: Sequence[int], active: bool = False, limit: int
) -> list[Record]:
    """Return the merges in which one of these persons was survivor or absorbed, the newest first."""
    return await connection.fetch(
        f"""SELECT {_MERGE} FROM identity_merge
            WHERE (survivor = ANY ($1::bigint[]) OR absorbed = ANY ($1::bigint[]))
                AND (undone_at IS NULL OR NOT $2)
            ORDER BY id DESC LIMIT $3""",
        persons,
        active,
        limit,
    )


async def get_merge(connection: Connection, *, merge: int) -> Record | None:
    """Return the merge."""
    return await connection.fetchrow(f"SELECT {_MERGE} FROM identity_merge WHERE id = $1", merge)


async def find_merge_of(connection: Connection, *, absorbed: int) -> Record | None:
    """Return the merge by which this person is absorbed now."""
    return await connection.fetchrow(
        f"SELECT {_MERGE} FROM identity_merge WHERE absorbed = $1 AND undone_at IS NULL", absorbed
    )


async def undo_merge(
    connection: Connection,
    *,
    merge: int,
    absorbed: int,
    followers: Sequence[int],
    actor: str,
    now: datetime,
) -> Record | None:
    """Let the absorbed person stand for itself and its followers again; None where it was undone before."""
    return await connection.fetchrow(
        f"""WITH undone AS (UPDATE identity_merge SET undone_at = $4, undone_by = $5
                WHERE id = $1 AND undone_at IS NULL RETURNING {_MERGE}),
            pointed AS (UPDATE identity_person SET survivor = nullif($2, id)
                WHERE id = ANY ($3::bigint[]) AND EXISTS (SELECT FROM undone))
            SELECT * FROM undone""",
        merge,
        absorbed,
        [absorbed, *followers],
        now,
        actor,
    )


async def gather_tally(connection: Connection, *, most: int) -> None:
    """Make one row for each day of up to `most` rows of the tally that nobody else is just gathering."""
    await connection.execute(
        """WITH gone AS (DELETE FROM identity_tally WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM identity_tally ORDER BY day LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING day, persons)
        INSERT INTO identity_tally (day, persons) SELECT day, sum(persons) FROM gone GROUP BY day""",
        most,
    )


def _turned(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


async def find_by_digests(
    connection: Connection,
    *,
    digests: Sequence[bytes],
    name: int | None,
    birth_date: date | None,
    limit: int,
) -> list[Record]:
    """Return persons that hold one of the identifiers and have this name and birth date, where given."""
    return await connection.fetch(
        f"""SELECT {_PERSON} FROM identity_person p {_NUMBER}
            WHERE p.id IN (SELECT person FROM identity_identifier WHERE digest = ANY ($1::bytea[]))
              AND ($2::bigint IS NULL OR p.name_digest = $2) AND ($3::date IS NULL OR p.birth_date = $3)
            ORDER BY p.id LIMIT $4""",
        digests,
        name,
        birth_date,
        limit,
    )


async def find_by_name(
    connection: Connection, *, name: int, birth_date: date | None, limit: int
) -> list[Record]:
    """Return persons with this name, or who had it before, and birth date where given."""
    return await connection.fetch(
        f"""SELECT {_PERSON} FROM identity_person p {_NUMBER}
            WHERE (p.name_digest = $1 OR p.former_name = $1) AND ($2::date IS NULL OR p.birth_date = $2)
            ORDER BY p.id LIMIT $3""",
        name,
        birth_date,
        limit,
    )


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What is searched by; None or empty: not by this. Everything given must hold.

    `identifiers` and `mothers` (her numbers and names) are digests. `names` are those of whole names, of
    which one is enough, `parts` those of parts of a name, of which all are needed; names or parts will do.
    `mother_names` are names of mothers who are known themselves.
    """

    identifiers: Sequence[bytes] = ()
    mothers: Sequence[bytes] = ()
    mother_names: Sequence[int] = ()
    names: Sequence[int] = ()
    parts: Sequence[int] = ()
    born_from: date | None = None
    born_before: date | None = None
    sex: int | None = None


async def search(connection: Connection, criteria: Criteria, *, after: int | None, limit: int) -> list[int]:
    """Return survivors in a fixed order, those behind `after`.

    Where only the birth date is given the order is that of the dates, so that the first page does not need
    all of a year; else that of the ids.
    """
    values: list[Any] = []

    def given(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    found: list[str] = []
    if criteria.identifiers:
        digests = given(list(criteria.identifiers))
        found.append(f"SELECT person FROM identity_identifier WHERE digest = ANY ({digests}::bytea[])")
    if criteria.mothers:
        mothers, names = given(list(criteria.mothers)), given(list(criteria.mother_names))
        found.append(
            f"""SELECT child FROM identity_mother WHERE digest = ANY ({mothers}::bytea[])
                UNION SELECT m.child FROM identity_person q
                    JOIN identity_identifier i ON i.person = q.id
                    JOIN identity_mother m ON m.digest = i.digest
                WHERE q.name_digest = ANY ({names}::bigint[])"""
        )
    if criteria.names or criteria.parts:
        names, parts = given(list(criteria.names)), given(list(criteria.parts))
        found.append(
            f"""SELECT id FROM identity_person WHERE name_digest = ANY ({names}::bigint[])
                UNION SELECT id FROM identity_person WHERE former_name = ANY ({names}::bigint[])
                UNION SELECT person FROM identity_name_part WHERE digest = ANY ({parts}::bigint[])
                    GROUP BY person HAVING count(*) = cardinality({parts}::bigint[])"""
        )
    shown = ["s.survivor IS NULL"]
    if criteria.born_from and criteria.born_before:
        shown.append(f"s.birth_date >= {given(criteria.born_from)}")
        shown.append(f"s.birth_date < {given(criteria.born_before)}")
    if criteria.sex:
        shown.append(f"s.sex = {given(criteria.sex)}")
    if found:
        roots = " INTERSECT ".join(
            f"(SELECT coalesce(p.survivor, p.id) FROM ({one}) f (id) JOIN identity_person p ON p.id = f.id)"
            for one in found
        )
        shown.append(f"s.id IN ({roots})")
        order, past = "s.id", "s.id >"
    else:
        order = "s.birth_date, s.id"
        past = "(s.birth_date, s.id) > (SELECT birth_date, id FROM identity_person WHERE id ="
    if after is not None:
        shown.append(f"{past} {given(after)}" + ("" if found else ")"))
    rows = await connection.fetch(
        f"""SELECT s.id FROM identity_person s WHERE {" AND ".join(shown)}
            ORDER BY {order} LIMIT {given(limit)}""",
        *values,
    )
    return [row["id"] for row in rows]


async def find_holders_of(connection: Connection, *, digest: bytes) -> list[Record]:
    """Return who holds the identifier, by variant, with its survivor."""
    return await connection.fetch(
        """SELECT i.variant, i.disputed, coalesce(p.survivor, p.id) AS survivor
           FROM identity_identifier i JOIN identity_person p ON p.id = i.person
           WHERE i.digest = $1 ORDER BY i.disputed, i.variant""",
        digest,
    )


async def find_issuers(connection: Connection, *, issuers: Sequence[str]) -> list[str]:
    """Return those of the issuers that ever assigned a number."""
    rows = await connection.fetch(
        "SELECT issuer FROM identity_issuer WHERE issuer = ANY ($1::text[]) ORDER BY 1", issuers
    )
    return [row["issuer"] for row in rows]


async def add_mothers(connection: Connection, *, rows: Sequence[tuple[Any, ...]], now: datetime) -> None:
    """Add how mothers are known, given as child, digest, kind, issuer and sealed value."""
    await connection.execute(
        """INSERT INTO identity_mother (child, digest, kind, issuer, sealed, seen_at)
           SELECT m.*, $1 FROM unnest($2::bigint[], $3::bytea[], $4::smallint[], $5::text[], $6::bytea[]) AS m
           ORDER BY 1, 2 ON CONFLICT DO NOTHING""",
        now,
        *_turned(rows, 5),
    )


async def list_mothers(connection: Connection, *, children: Sequence[int]) -> list[Record]:
    """Return how the mothers of these persons are known, with the person that holds such a number."""
    return await connection.fetch(
        """SELECT m.child, m.digest, m.kind, m.issuer, m.sealed, h.survivor AS person
           FROM identity_mother m LEFT JOIN LATERAL (
               SELECT coalesce(p.survivor, p.id) AS survivor FROM identity_identifier i
                   JOIN identity_person p ON p.id = i.person
               WHERE i.digest = m.digest ORDER BY i.disputed, i.variant LIMIT 1) h ON m.kind IS NOT NULL
           WHERE m.child = ANY ($1::bigint[]) ORDER BY m.child, m.kind, m.seen_at, m.digest""",
        children,
    )


async def get_persons(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return these persons, ascending; those that do not exist are left out."""
    return await connection.fetch(
        f"SELECT {_PERSON} FROM identity_person p {_NUMBER} WHERE p.id = ANY ($1::bigint[]) ORDER BY p.id",
        persons,
    )


async def list_identifiers(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return what these persons hold, the strongest first."""
    return await connection.fetch(
        """SELECT kind, issuer, sealed, digest, variant, disputed, seen_at, origin, person
           FROM identity_identifier
           WHERE person = ANY ($1::bigint[]) ORDER BY kind, seen_at, issuer, digest, variant""",
        persons,
    )


async def list_reviews(
    connection: Connection, *, state: str | None, person: int | None, before: int | None, limit: int
) -> list[Review]:
    """Return review entries, the newest first."""
    given = {"state = $%d": state, "id < $%d": before, "(person = $%d OR other = $%d)": person}
    conditions: list[str] = []
    values: list[Any] = []
    for text, value in given.items():
        if value is not None:
            values.append(value)
            conditions.append(text.replace("%d", str(len(values) + 1)))
    where = " AND ".join(conditions) or "true"
    rows = await connection.fetch(
        f"SELECT {_REVIEW} FROM identity_review WHERE {where} ORDER BY id DESC LIMIT $1", limit, *values
    )
    return [review_of(row) for row in rows]


async def get_review(connection: Connection, *, review: int, locked: bool) -> Review | None:
    """Return the entry, locked until the transaction ends where asked."""
    lock = "FOR UPDATE" if locked else ""
    row = await connection.fetchrow(f"SELECT {_REVIEW} FROM identity_review WHERE id = $1 {lock}", review)
    return None if row is None else review_of(row)


async def close_review(
    connection: Connection, *, review: int, state: str, now: datetime, actor: str, note: str
) -> None:
    """Write down the decision."""
    await connection.execute(
        """UPDATE identity_review SET state = $2, decided_at = $3, decided_by = $4, note = nullif($5, '')
           WHERE id = $1""",
        review,
        state,
        now,
        actor,
        note,
    )


async def list_events(
    connection: Connection, *, persons: Sequence[int], before: int | None, limit: int
) -> list[Record]:
    """Return what happened to these persons, the newest first."""
    return await connection.fetch(
        """SELECT id, at, kind, person, other, actor, origin, name_sealed, phone_sealed, birth_date, sex,
               reason, weight, model, operation
           FROM identity_event
           WHERE person = ANY ($1::bigint[]) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3""",
        persons,
        before,
        limit,
    )


async def count_persons(connection: Connection) -> int:
    """Return how many persons there are, as counted when they were created."""
    rows = await connection.fetch("SELECT coalesce(sum(persons), 0)::bigint AS persons FROM identity_tally")
    return rows[0]["persons"]


async def count_reviews(connection: Connection) -> int:
    """Return how many review entries are open."""
    rows = await connection.fetch("SELECT count(*) AS reviews FROM identity_review WHERE state = 'open'")
    return rows[0]["reviews"]


async def count_created(connection: Connection, *, first: date, end: date) -> list[Record]:
    """Return the days from `first` up to, not including, `end` with the persons created on them."""
    return await connection.fetch(
        """SELECT day, sum(persons)::bigint AS persons FROM identity_tally
           WHERE day >= $1 AND day < $2 GROUP BY day ORDER BY day""",
        first,
        end,
    )


def review_of(row: Record) -> Review:
    """Return the review entry that a row of the table tells."""
    return Review(
        id=row["id"],
        person=row["person"],
        other=row["other"],
        kind=None if row["kind"] is None else IdentifierKind(row["kind"]),
        issuer=row["issuer"],
        reason=ReviewReason(row["reason"]),
        state=ReviewState(row["state"]),
        origin=row["origin"],
        created_at=row["created_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        account=row["account"],
    )


@asynccontextmanager
async def _by_index(connection: Connection) -> AsyncIterator[None]:
    """Let the planner choose index look-ups only. After a failure the transaction is lost anyway."""
    await connection.execute(_BY_INDEX)
    yield
    await connection.execute(_AS_BEFORE)
