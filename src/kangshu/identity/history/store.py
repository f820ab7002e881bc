"""All SQL of splits and of making the index anew from what happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kangshu.storage.database import Connection, Record

_SPLIT = """s.id, s.person, s.created, s.at, s.actor, s.reason, s.undone_at, s.undone_by,
    (SELECT count(*) FROM identity_moved m WHERE m.split = s.id AND NOT m.undoing) AS identifiers"""
_FACTS = ("name_sealed", "name_digest", "sex", "birth_date", "phone_sealed")


async def list_held(connection: Connection, *, person: int) -> list[Record]:
    """Return what the person itself holds."""
    return await connection.fetch(
        """SELECT digest, variant, kind, disputed, issuer, sealed FROM identity_identifier
           WHERE person = $1 ORDER BY digest, variant""",
        person,
    )


async def add_person(connection: Connection, *, facts: dict[str, Any], now: datetime) -> int:
    """Add a person of whom these facts are known, and return its id."""
    person = await connection.fetchval(
        f"""WITH new AS (INSERT INTO identity_person (id, created_at, {", ".join(_FACTS)})
                VALUES (nextval('identity_person_id'), $1, $2, $3, $4, $5, $6) RETURNING id),
            tally AS (INSERT INTO identity_tally (day, persons) VALUES (($1::timestamptz)::date, 1))
            SELECT id FROM new""",
        now,
        *(facts.get(name) for name in _FACTS),
    )
    assert person is not None, "what was inserted is returned"
    return person


async def add_split(
    connection: Connection, *, person: int, created: int, actor: str, reason: str, now: datetime
) -> int:
    """Note that identifiers are taken out of a person, and return the number of the split."""
    split = await connection.fetchval(
        """INSERT INTO identity_split (person, created, at, actor, reason)
           VALUES ($1, $2, $3, $4, $5) RETURNING id""",
        person,
        created,
        now,
        actor,
        reason,
    )
    assert split is not None, "what was inserted is returned"
    return split


async def move(
    connection: Connection,
    *,
    split: int,
    holdings: Sequence[tuple[bytes, int, int]],
    undoing: bool,
) -> None:
    """Give these holdings (digest, variant, the new holder) to others, and note it.

    Open review entries about them are henceforth about their new holder. What cannot be moved so, as it
    would be an entry of one person with itself, stays.
    """
    digests, variants, targets = ([one[place] for one in holdings] for place in range(3))
    await connection.execute(
        """WITH given AS (SELECT * FROM unnest($2::bytea[], $3::smallint[], $4::bigint[])
                AS g (digest, variant, target)),
            old AS MATERIALIZED (SELECT i.digest, i.variant, i.person, g.target
                FROM given g JOIN identity_identifier i ON i.digest = g.digest AND i.variant = g.variant
                WHERE i.person <> g.target),
            noted AS (INSERT INTO identity_moved (split, digest, variant, origin, target, undoing)
                SELECT $1, digest, variant, person, target, $5 FROM old ORDER BY digest, variant),
            asked AS (UPDATE identity_review r
                SET person = CASE WHEN r.person = old.person THEN old.target ELSE r.person END,
                    other = CASE WHEN r.other = old.person THEN old.target ELSE r.other END
                FROM old WHERE r.state = 'open' AND r.digest = old.digest
                    AND (r.person = old.person AND r.other <> old.target
                        OR r.other = old.person AND r.person <> old.target))
            UPDATE identity_identifier i SET person = old.target
            FROM old WHERE i.digest = old.digest AND i.variant = old.variant""",
        split,
        digests,
        variants,
        targets,
        undoing,
    )


async def own_numbers(connection: Connection, *, persons: Sequence[int]) -> None:
    """Let each of these persons own the resident number that it holds undisputed, or none."""
    await connection.execute(
        """UPDATE identity_person p SET revision = p.revision + 1, resident = (
               SELECT ('x' || encode(substring(i.digest FOR 8), 'hex'))::bit(64)::bigint
               FROM identity_identifier i
               WHERE i.person = p.id AND i.kind = 1 AND NOT i.disputed
               ORDER BY i.variant, i.digest LIMIT 1)
           WHERE p.id = ANY ($1::bigint[])""",
        list(persons),
    )


async def copy_birth(connection: Connection, *, source: int, target: int) -> None:
    """Let the target be born when the source was, where nothing is known of it."""
    await connection.execute(
        """UPDATE identity_person t SET birth_date = s.birth_date
           FROM identity_person s WHERE s.id = $1 AND t.id = $2 AND t.birth_date IS NULL""",
        source,
        target,
    )


async def get_split(connection: Connection, *, split: int) -> Record | None:
    """Return the split, locked until the transaction ends."""
    return await connection.fetchrow(
        f"SELECT {_SPLIT} FROM identity_split s WHERE s.id = $1 FOR UPDATE OF s", split
    )


async def list_splits(connection: Connection, *, persons: Sequence[int], limit: int) -> list[Record]:
    """Return the splits of these persons, and by which they were made, the newest first."""
    return await connection.fetch(
        f"""SELECT {_SPLIT} FROM identity_split s
            WHERE s.person = ANY ($1::bigint[]) OR s.created = ANY ($1::bigint[])
            ORDER BY s.id DESC LIMIT $2""",
        list(persons),
        limit,
    )


async def holders_without(connection: Connection, *, split: int) -> list[Record]:
    """Return digest and variant of what the split moved, and `target`: whose it is if the split never was.

    That is the person to whom the last other split that holds gave it, else who held it at first.
    """
    return await connection.fetch(
        """WITH taken AS (SELECT digest, variant FROM identity_moved WHERE split = $1 AND NOT undoing)
           SELECT t.digest, t.variant, coalesce(
               (SELECT s.created FROM identity_moved m JOIN identity_split s ON s.id = m.split
                WHERE m.digest = t.digest AND m.variant = t.variant AND NOT m.undoing
                    AND s.undone_at IS NULL AND s.id <> $1
                ORDER BY s.id DESC LIMIT 1),
               (SELECT m.origin FROM identity_moved m WHERE m.digest = t.digest AND m.variant = t.variant
                ORDER BY m.id LIMIT 1)) AS target
           FROM taken t ORDER BY t.digest, t.variant""",
        split,
    )


async def close_split(connection: Connection, *, split: int, merge: int, actor: str, now: datetime) -> None:
    """Note that the split was undone, and by which merge its person means the old one."""
    await connection.execute(
        "UPDATE identity_split SET undone_at = $2, undone_by = $3, merge = $4 WHERE id = $1",
        split,
        now,
        actor,
        merge,
    )


async def list_profiles(connection: Connection, *, person: int) -> list[Record]:
    """Return digest and sealed text of what records told of the person."""
    return await connection.fetch(
        "SELECT digest, sealed FROM identity_profile WHERE person = $1 ORDER BY digest", person
    )


async def move_profiles(
    connection: Connection,
    *,
    person: int,
    created: int,
    profiles: Sequence[int],
    keys: Sequence[int],
    shared: Sequence[int],
    most: int,
) -> None:
    """Give profiles to the new person, with the blocking keys that are theirs alone.

    Keys that the old person keeps too (`shared`) get one holder more, those with `most` of them none.
    """
    await connection.execute(
        "UPDATE identity_profile SET person = $2 WHERE person = $1 AND digest = ANY ($3::bigint[])",
        person,
        created,
        list(profiles),
    )
    await connection.execute(
        "UPDATE identity_key SET person = $2 WHERE person = $1 AND digest = ANY ($3::bigint[])",
        person,
        created,
        list(keys),
    )
    await connection.execute(
        """INSERT INTO identity_key (digest, variant, person)
           SELECT k.digest, max(k.variant) + 1, $1 FROM identity_key k
           WHERE k.digest = ANY ($2::bigint[]) GROUP BY k.digest HAVING max(k.variant) + 1 < $3
           ORDER BY 1 ON CONFLICT DO NOTHING""",
        created,
        list(shared),
        most,
    )


# --- Making the index anew: all of it in sets, in the database ---


async def fold(connection: Connection) -> None:
    """Make the temporary tables `identity_should_hold` and `identity_should_mean` out of what happened.

    Every holding goes to whom it was given first, or to whom it was moved last; every person means the end
    of its chain of merges that hold.
    """
    await connection.execute(
        """DROP TABLE IF EXISTS pg_temp.identity_should_hold, pg_temp.identity_should_mean;
           CREATE TEMP TABLE identity_should_hold ON COMMIT DROP AS
               SELECT DISTINCT ON (l.digest, l.variant) l.digest, l.variant,
                   coalesce(m.target, l.person) AS person
               FROM (SELECT e.id, h.digest, h.variant, h.person FROM identity_linked e,
                       unnest(e.digests, e.variants, e.persons) AS h (digest, variant, person)) l
                   LEFT JOIN (SELECT DISTINCT ON (digest, variant) digest, variant, target
                       FROM identity_moved ORDER BY digest, variant, id DESC) m
                       ON m.digest = l.digest AND m.variant = l.variant
               ORDER BY l.digest, l.variant, l.id DESC;
           CREATE TEMP TABLE identity_should_mean ON COMMIT DROP AS
               WITH RECURSIVE chain AS (
                   SELECT absorbed AS person, survivor AS end, 1 AS steps
                   FROM identity_merge WHERE undone_at IS NULL
                   UNION ALL
                   SELECT c.person, m.survivor, c.steps + 1
                   FROM chain c JOIN identity_merge m ON m.absorbed = c.end AND m.undone_at IS NULL
                   WHERE c.steps < 100000)
               SELECT DISTINCT ON (person) person, "end" AS survivor FROM chain ORDER BY person, steps DESC;
           ANALYZE identity_should_hold; ANALYZE identity_should_mean"""
    )


async def compare(connection: Connection) -> Record:
    """Return how the index differs from the folded tables."""
    row = await connection.fetchrow(
        """SELECT
            (SELECT count(*) FROM identity_should_hold) AS holdings,
            (SELECT count(*) FROM identity_person) AS persons,
            (SELECT count(*) FROM identity_merge WHERE undone_at IS NULL) AS merges,
            (SELECT count(*) FROM identity_should_hold s FULL JOIN identity_identifier i
                ON i.digest = s.digest AND i.variant = s.variant WHERE s.person IS NULL) AS unexplained,
            (SELECT count(*) FROM identity_should_hold s LEFT JOIN identity_identifier i
                ON i.digest = s.digest AND i.variant = s.variant WHERE i.person IS NULL) AS missing,
            (SELECT count(*) FROM identity_should_hold s JOIN identity_identifier i
                ON i.digest = s.digest AND i.variant = s.variant WHERE i.person <> s.person) AS misplaced,
            (SELECT count(*) FROM identity_person p LEFT JOIN identity_should_mean s ON s.person = p.id
                WHERE p.survivor IS DISTINCT FROM s.survivor) AS misled,
            (SELECT count(*) FROM (SELECT DISTINCT person FROM identity_should_hold) s
                LEFT JOIN identity_person p ON p.id = s.person WHERE p.id IS NULL) AS unknown"""
    )
    assert row is not None, "an aggregate has one row"
    return row


async def apply(connection: Connection) -> None:
    """Give holdings and persons what the folded tables say; what is missing comes back without a value."""
    await connection.execute(
        """UPDATE identity_identifier i SET person = s.person FROM identity_should_hold s
           WHERE i.digest = s.digest AND i.variant = s.variant AND i.person <> s.person;
           UPDATE identity_person p SET survivor = s.survivor, revision = p.revision + 1
           FROM (SELECT q.id, m.survivor FROM identity_person q
               LEFT JOIN identity_should_mean m ON m.person = q.id
               WHERE q.survivor IS DISTINCT FROM m.survivor) s
           WHERE p.id = s.id"""
    )


async def take_whole(connection: Connection) -> None:
    """Let nobody else change holdings and persons until the transaction ends; reading goes on."""
    await connection.execute(
        """LOCK TABLE identity_person, identity_identifier, identity_merge, identity_split
           IN SHARE ROW EXCLUSIVE MODE"""
    )


async def moved_persons(connection: Connection) -> list[int]:
    """Return whose holdings differ from the folded tables."""
    rows = await connection.fetch(
        """SELECT DISTINCT unnest(ARRAY[i.person, s.person]) AS person
           FROM identity_should_hold s JOIN identity_identifier i
               ON i.digest = s.digest AND i.variant = s.variant WHERE i.person <> s.person"""
    )
    return [row["person"] for row in rows]
