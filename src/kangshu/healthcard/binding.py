"""Codes and numbers of other systems that are bound to cards: how they are found and shown."""

from __future__ import annotations

from kangshu.healthcard import store
from kangshu.healthcard.masking import mask_tail
from kangshu.healthcard.model import Binding
from kangshu.healthcard.office import Office
from kangshu.storage.database import Connection, Record


def binding_of(office: Office, row: Record) -> Binding:
    """Return the binding of one row."""
    return Binding(
        id=row["id"],
        card=row["card"],
        system=row["system"],
        issuer=row["issuer"],
        masked=mask_tail(office.open_text(row["sealed"], beside=row["digest"])),
        bound_at=row["bound_at"],
        ended_at=row["ended_at"],
    )


async def find_bound(
    connection: Connection, *, office: Office, system: str, issuer: str, value: str
) -> int | None:
    """Return the card to which another system's value is bound."""
    (digest,) = office.digests([bound_text(system, issuer.strip(), value.strip())])
    row = await store.find_binding(connection, digest=digest)
    return row["card"] if row else None


def bound_text(system: str, issuer: str, value: str) -> str:
    """Return what the digest of a bound value is taken of."""
    return f"healthcard-bound:{len(system)}:{system}:{len(issuer)}:{issuer}:{value}"
