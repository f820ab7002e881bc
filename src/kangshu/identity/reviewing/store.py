"""All SQL of the review queue, opinions, statistics and samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kangshu.storage.database import Connection, Record

_REVIEW = """r.id, r.person, r.other, r.kind, r.issuer, r.reason, r.state, r.origin, r.created_at,
    r.decided_at, r.decided_by, r.account"""


async def list_unweighed(connection: Connection, *, limit: int) -> list[Record]:
    """Return open entries of which nobody knows the value, with what it is made of; the oldest first."""
    return await connection.fetch(
        """SELECT r.id, r.person, r.other, r.reason, a.weight,
               (SELECT count(*) FROM identity_identifier i WHERE i.person = r.person) AS mine,
               (SELECT count(*) FROM identity_identifier i WHERE i.person = r.other) AS theirs
           FROM identity_review r LEFT JOIN identity_account a ON a.id = r.account
           WHERE r.state = 'open' AND r.value IS NULL ORDER BY r.id LIMIT $1""",
        limit,
    )


async def set_values(connection: Connection, *, values: Sequence[tuple[int, float]]) -> None:
    """Give entries their value."""
    await connection.execute(
        """UPDATE identity_review r SET value = v.value
           FROM unnest($1::bigint[], $2::real[]) AS v (review, value) WHERE r.id = v.review""",
        [review for review, _ in values],
        [value for _, value in values],
    )


async def list_queue(
    connection: Connection, *, actor: str | None, second: bool, after: tuple[float, int] | None, limit: int
) -> list[Record]:
    """Return open entries by value, those behind `after`, with their opinions counted.

    With `second` only those that wait for a second opinion; `mine`: `actor` gave one.
    """
    return await connection.fetch(
        f"""SELECT {_REVIEW}, r.value, o.opinions, o.mine, a.weight
            FROM identity_review r
                LEFT JOIN identity_account a ON a.id = r.account
                CROSS JOIN LATERAL (SELECT count(*) AS opinions,
                        coalesce(bool_or(p.actor = $1), false) AS mine
                    FROM identity_opinion p WHERE p.review = r.id) o
            WHERE r.state = 'open' AND ($2::real IS NULL OR (r.value, r.id) < ($2::real, $3::bigint))
                AND (NOT $4 OR o.opinions > 0)
            ORDER BY r.value DESC, r.id DESC LIMIT $5""",
        actor,
        None if after is None else after[0],
        None if after is None else after[1],
        second,
        limit,
    )


async def list_opinions(connection: Connection, *, review: int) -> list[Record]:
    """Return what reviewers said of the entry, the first first."""
    return await connection.fetch(
        """SELECT review, actor, same, survivor, at, note FROM identity_opinion
           WHERE review = $1 ORDER BY at, actor""",
        review,
    )


async def add_opinion(
    connection: Connection,
    *,
    review: int,
    actor: str,
    same: bool,
    survivor: int | None,
    note: str,
    now: datetime,
) -> bool:
    """Add an opinion; False where this reviewer gave one before."""
    status = await connection.execute(
        """INSERT INTO identity_opinion (review, actor, same, survivor, at, note)
           VALUES ($1, $2, $3, $4, $5, nullif($6, '')) ON CONFLICT DO NOTHING""",
        review,
        actor,
        same,
        survivor,
        now,
        note,
    )
    return status.endswith("1")


async def count_states(connection: Connection, *, since: datetime, until: datetime) -> Record:
    """Return how many entries are open, wait for a second opinion, and were decided in the time."""
    row = await connection.fetchrow(
        """SELECT
            (SELECT count(*) FROM identity_review WHERE state = 'open') AS open,
            (SELECT count(DISTINCT o.review) FROM identity_opinion o JOIN identity_review r ON r.id = o.review
                WHERE r.state = 'open') AS waiting,
            (SELECT min(created_at) FROM identity_review WHERE state = 'open') AS oldest,
            count(*) FILTER (WHERE d.state = 'same') AS same,
            count(*) FILTER (WHERE d.state = 'different') AS different,
            percentile_cont(0.5) WITHIN GROUP (
                ORDER BY extract(epoch FROM d.decided_at - d.created_at)) AS seconds_median,
            (SELECT count(*) FROM (SELECT o.review FROM identity_opinion o
                WHERE o.at >= $1 AND o.at < $2 GROUP BY o.review HAVING count(DISTINCT o.same) > 1) q)
                AS disputed
           FROM identity_review d WHERE d.decided_at >= $1 AND d.decided_at < $2""",
        since,
        until,
    )
    assert row is not None, "an aggregate has one row"
    return row


async def count_by_reason(connection: Connection, *, since: datetime, until: datetime) -> list[Record]:
    """Return for each reason the entries that were decided in the time, and how."""
    return await connection.fetch(
        """SELECT reason, count(*) FILTER (WHERE state = 'same') AS same,
               count(*) FILTER (WHERE state = 'different') AS different
           FROM identity_review WHERE decided_at >= $1 AND decided_at < $2 GROUP BY reason ORDER BY reason""",
        since,
        until,
    )


async def count_by_actor(connection: Connection, *, since: datetime, until: datetime) -> list[Record]:
    """Return for each reviewer the opinions of the time."""
    return await connection.fetch(
        """SELECT actor, count(*) FILTER (WHERE same) AS same, count(*) FILTER (WHERE NOT same) AS different
           FROM identity_opinion WHERE at >= $1 AND at < $2 GROUP BY actor
           ORDER BY count(*) DESC, actor LIMIT 200""",
        since,
        until,
    )


async def count_by_weight(
    connection: Connection, *, since: datetime, until: datetime, step: int
) -> list[Record]:
    """Return for each band of weights (`floor` to `floor + step` bits) what reviewers decided."""
    return await connection.fetch(
        """SELECT (floor(a.weight / $3) * $3)::integer AS floor,
               count(*) FILTER (WHERE r.state = 'same') AS same,
               count(*) FILTER (WHERE r.state = 'different') AS different
           FROM identity_review r JOIN identity_account a ON a.id = r.account
           WHERE r.decided_at >= $1 AND r.decided_at < $2 GROUP BY 1 ORDER BY 1""",
        since,
        until,
        step,
    )


async def draw_sample(
    connection: Connection, *, size: int, seed: int, actor: str, now: datetime
) -> list[int]:
    """Draw so many automatic links that were not drawn before, each as likely as any other."""
    rows = await connection.fetch(
        """INSERT INTO identity_sample (account, drawn_at, drawn_by)
           SELECT a.id, $3, $4 FROM identity_account a
           WHERE a.verdict = 'link' AND NOT EXISTS (SELECT FROM identity_sample s WHERE s.account = a.id)
           ORDER BY hashint8extended(a.id, $2), a.id LIMIT $1
           ON CONFLICT DO NOTHING RETURNING id""",
        size,
        seed,
        now,
        actor,
    )
    return [row["id"] for row in rows]


async def list_samples(connection: Connection, *, unjudged: bool, limit: int) -> list[Record]:
    """Return drawn links, those that wait first, then the newest."""
    return await connection.fetch(
        """SELECT id, account, drawn_at, drawn_by, verdict, judged_at, judged_by, note FROM identity_sample
           WHERE NOT $1 OR verdict IS NULL
           ORDER BY verdict IS NOT NULL, CASE WHEN verdict IS NULL THEN id ELSE -id END LIMIT $2""",
        unjudged,
        limit,
    )


async def get_sample(connection: Connection, *, sample: int) -> Record | None:
    """Return the drawn link."""
    return await connection.fetchrow(
        """SELECT id, account, drawn_at, drawn_by, verdict, judged_at, judged_by, note FROM identity_sample
           WHERE id = $1""",
        sample,
    )


async def judge(
    connection: Connection, *, sample: int, verdict: str, actor: str, note: str, now: datetime
) -> None:
    """Write down what somebody saw; a later look takes the place of an earlier one."""
    await connection.execute(
        """UPDATE identity_sample SET verdict = $2, judged_at = $3, judged_by = $4, note = nullif($5, '')
           WHERE id = $1""",
        sample,
        verdict,
        now,
        actor,
        note,
    )


async def count_samples(connection: Connection) -> Record:
    """Return how many automatic links there are, were drawn, and what was seen."""
    row = await connection.fetchrow(
        """SELECT (SELECT count(*) FROM identity_account WHERE verdict = 'link') AS links,
               count(*) AS drawn,
               count(*) FILTER (WHERE verdict = 'right') AS "right",
               count(*) FILTER (WHERE verdict = 'wrong') AS wrong,
               count(*) FILTER (WHERE verdict = 'unsure') AS unsure
           FROM identity_sample"""
    )
    assert row is not None, "an aggregate has one row"
    return row


async def linked_digests(connection: Connection, *, account: int) -> list[bytes]:
    """Return the identifiers of what this account linked at once."""
    found = await connection.fetchval("SELECT digests FROM identity_account WHERE id = $1", account)
    return list(found or [])
