"""Whom to tell outside the console: mail address and hook of an institution or a division."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from kangshu.audit import AuditEntry, record
from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.errors import ContactRefusedError, ContactUnknownError, say
from kangshu.security.keys import Keys
from kangshu.security.principals import Permission, Principal
from kangshu.security.sealing import digest_many, open_checked, seal_many
from kangshu.storage.database import Connection, Record

_CODE = re.compile(r"[0-9A-Za-z._-]{2,64}", re.ASCII)
# What can be sent to without quoting; no blank, no line end, no second address.
_MAIL = re.compile(r"[0-9A-Za-z.!#$%&'*+/=?^_`{|}~-]{1,64}@[0-9A-Za-z.-]{1,253}", re.ASCII)
_SECRET = re.compile(r"[!-~]{16,200}", re.ASCII)
_ADDRESS_MOST = 500
_SECRET_BYTES = 24
_PREFIX = "hook-secret:"

Random = Callable[[int], bytes]


class Algorithm(StrEnum):
    """By which hash what is posted to a hook is signed (HMAC)."""

    SHA256 = "sha256"
    SM3 = "sm3"


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Whom to tell for a code; `secret` signs what is posted to `hook`. Empty means not that way."""

    code: str
    mail: str = ""
    hook: str = ""
    algorithm: Algorithm = Algorithm.SHA256
    secret: str = field(default="", repr=False)
    updated_at: datetime
    updated_by: str


async def set_contact(
    connection: Connection,
    *,
    keys: Keys,
    code: str,
    mail: str = "",
    hook: str = "",
    algorithm: str = Algorithm.SHA256,
    secret: str = "",
    principal: Principal,
    now: datetime,
    random: Random,
) -> Contact:
    """Return the contact as it is kept from now on, in the place of an earlier one.

    A hook without a secret keeps the one it has, or gets a new one, which the answer shows once.

    Raises:
        NotPermittedError: the principal does not manage clients.
        ContactRefusedError: an address, code or secret is none.
    """
    principal.require(Permission.MANAGE_ACCOUNTS)
    _check(code=code, mail=mail, hook=hook, algorithm=algorithm, secret=secret)
    if hook and not secret:
        known = await list_contacts(connection, keys=keys, codes=[code])
        secret = known[0].secret if known and known[0].secret else random(_SECRET_BYTES).hex()
    await store.put_contact(
        connection,
        code=code,
        mail=mail,
        hook=hook,
        algorithm=algorithm,
        secret=_sealed(keys, secret, random=random) if hook else None,
        at=now,
        by=principal.id,
    )
    await _trace(connection, "quality.contact-set", code, principal=principal, now=now)
    return (await list_contacts(connection, keys=keys, codes=[code]))[0]


async def remove_contact(connection: Connection, *, code: str, principal: Principal, now: datetime) -> None:
    """Forget a contact: that institution is told in the console only.

    Raises:
        NotPermittedError: the principal does not manage clients.
        ContactUnknownError: there is none.
    """
    principal.require(Permission.MANAGE_ACCOUNTS)
    if not await store.delete_contact(connection, code=code):
        raise ContactUnknownError(say["contact_unknown"])
    await _trace(connection, "quality.contact-remove", code, principal=principal, now=now)


async def list_contacts(
    connection: Connection, *, keys: Keys, codes: Sequence[str] | None = None
) -> list[Contact]:
    """Return contacts by code.

    Raises:
        SealBrokenError: a secret was changed, or sealed under other keys.
    """
    return [_contact(keys, row) for row in await store.list_contacts(connection, codes=codes)]


def _check(*, code: str, mail: str, hook: str, algorithm: str, secret: str) -> None:
    if not _CODE.fullmatch(code):
        raise ContactRefusedError(say["contact_code"])
    if mail and not _MAIL.fullmatch(mail):
        raise ContactRefusedError(say["contact_mail"])
    if hook and not _is_hook(hook):
        raise ContactRefusedError(say["contact_hook"])
    if algorithm not in set(Algorithm):
        raise ContactRefusedError(say["contact_algorithm"])
    if secret and not _SECRET.fullmatch(secret):
        raise ContactRefusedError(say["contact_secret"])


def _is_hook(address: str) -> bool:
    """Return whether an address is http(s), names a host, and holds no name, password or blank."""
    if len(address) > _ADDRESS_MOST or not address.isascii() or not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _sealed(keys: Keys, secret: str, *, random: Random) -> tuple[bytes, bytes]:
    sealed = seal_many(keys, [secret], nonce=random(12))[0]
    return sealed, digest_many(keys.lookup_key, [_PREFIX + secret])[0]


def _contact(keys: Keys, row: Record) -> Contact:
    secret = ""
    if row["secret_sealed"] is not None:
        secret = open_checked(keys, [row["secret_sealed"]], [row["secret_digest"]], prefix=_PREFIX)[0]
    return Contact(
        code=row["code"],
        mail=row["mail"],
        hook=row["hook"],
        algorithm=Algorithm(row["algorithm"]),
        secret=secret,
        updated_at=row["updated_at"],
        updated_by=row["updated_by"],
    )


async def _trace(
    connection: Connection, action: str, code: str, *, principal: Principal, now: datetime
) -> None:
    entry = AuditEntry(
        at=now,
        actor=principal.id,
        actor_name=principal.name,
        action=action,
        resource=f"quality-contact/{code}",
    )
    await record(connection, entries=[entry])
