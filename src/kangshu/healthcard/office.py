"""What every act on cards needs: the settings, the keys, and how a card's row opens to a `Card`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import orjson

from kangshu.audit import AuditEntry, Outcome, record
from kangshu.healthcard import store
from kangshu.healthcard.errors import CardKeysError, CardUnknownError
from kangshu.healthcard.model import Attribute, Caller, Card, Holder, Medium, Status, Way
from kangshu.healthcard.ring import SIZES, CardKey, KeyKind, Ring, Vault, new_key
from kangshu.healthcard.settings import CardSettings
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, digest_many
from kangshu.security.sm import sm2_public_key
from kangshu.storage.database import Connection, Record

# A key that somebody else just made is looked for at most this often, whatever strangers send.
_REFRESH = timedelta(seconds=5)
# A replaced code key opens codes for a while longer than any of them lasts: clocks differ.
_GRACE = timedelta(minutes=5)

_CARD = "healthcard-card:"
_INDEX = "healthcard-index:"
_DOCUMENT = "healthcard-document:"
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)

say = load_catalogue(__package__ or __name__)


class Office:
    """Settings and keys of one process; made by `open_office`, used by every act."""

    def __init__(
        self,
        *,
        keys: Keys,
        settings: CardSettings,
        random: Callable[[int], bytes],
        ring: Ring,
        now: datetime,
    ) -> None:
        self.keys = keys
        self.settings = settings
        self.random = random
        self.vault = Vault(keys)
        self.ring = ring
        self.looked_at = now
        self.latest = now

    @property
    def sign_public_keys(self) -> tuple[bytes, ...]:
        """The SM2 keys by which signed codes can be checked offline, the newest first."""
        return tuple(key.public for key in self.ring.signs)

    def today(self, now: datetime) -> date:
        """Return the day it is in the region."""
        return now.astimezone(self.settings.zone).date()

    def saw(self, now: datetime) -> None:
        """Remember the latest moment of any act: what a look-up without a moment is answered for."""
        self.latest = max(self.latest, now)

    async def refresh(self, connection: Connection, *, now: datetime) -> bool:
        """Read the keys again if that was not done just now; return whether they changed."""
        if abs(now - self.looked_at) < _REFRESH:
            return False
        return await self._reload(connection, now)

    async def _reload(self, connection: Connection, now: datetime) -> bool:
        before, self.ring = self.ring, await read_ring(connection, vault=self.vault, now=now)
        self.looked_at = now
        return self.ring != before

    # Digests and seals

    def digests(self, texts: Sequence[str]) -> list[bytes]:
        """Return the look-up digests of texts."""
        return digest_many(self.keys.lookup_key, texts)

    def card_digests(self, card_ids: Iterable[str]) -> list[bytes]:
        """Return the digests by which cards are found."""
        return self.digests([_CARD + one for one in card_ids])

    def index_digests(self, index_ids: Iterable[str]) -> list[bytes]:
        """Return the digests of index ids."""
        return self.digests([_INDEX + one for one in index_ids])

    def document_digests(self, documents: Iterable[tuple[str, str]]) -> list[bytes]:
        """Return the digests of kinds and numbers of documents."""
        return self.digests([f"{_DOCUMENT}{kind}:{number}" for kind, number in documents])

    def seal_holder(self, holder: Holder, *, card_id: str, index_id: str, digest: bytes) -> bytes:
        """Return what a card's row hides; it opens beside the digest of the card alone."""
        told = (
            holder.name,
            holder.document_type,
            holder.document_number,
            holder.sex,
            holder.birth_date,
            holder.nation,
            holder.phone,
            holder.address,
            card_id,
            index_id,
        )
        return self.vault.seal(orjson.dumps(told), beside=digest, nonce=self.random(NONCE_BYTES))

    def open_holder(self, sealed: bytes, *, digest: bytes) -> tuple[Holder, str, str]:
        """Return the holder, the card id and the index id.

        Raises:
            CardKeysError: the row was changed, or sealed under other keys.
        """
        told = orjson.loads(self.vault.open(sealed, beside=digest))
        name, kind, number, sex, birth, nation, phone, address, card_id, index_id = told
        holder = Holder(
            name=name,
            document_type=kind,
            document_number=number,
            sex=sex,
            birth_date=date.fromisoformat(birth) if birth else None,
            nation=nation,
            phone=phone,
            address=address,
        )
        return holder, card_id, index_id

    def seal_text(self, text: str, *, beside: bytes) -> bytes:
        """Return a text sealed beside a digest."""
        return self.vault.seal(text.encode(), beside=beside, nonce=self.random(NONCE_BYTES))

    def open_text(self, sealed: bytes, *, beside: bytes) -> str:
        """Return the text."""
        return self.vault.open(sealed, beside=beside).decode()

    def card_of(self, row: Record) -> Card:
        """Return the card of one row."""
        holder, card_id, index_id = self.open_holder(row["sealed"], digest=row["card"])
        survivor = row["survivor"]
        return Card(
            id=row["id"],
            person=row["person"] if survivor is None else survivor,
            active=row["active"],
            holder=holder,
            card_id=card_id,
            index_id=index_id,
            status=Status(row["status"]),
            attribute=Attribute(row["attribute"]),
            medium=Medium(row["medium"]),
            way=Way(row["way"]),
            institution=row["institution"],
            registered_at=row["registered_at"],
            claimed_at=row["claimed_at"],
            valid_until=row["valid_until"],
            guardian=row["guardian"],
            successor=row["successor"],
        )


async def open_office(
    connection: Connection,
    *,
    keys: Keys,
    settings: CardSettings,
    random: Callable[[int], bytes],
    now: datetime,
) -> Office:
    """Return the office of this process; the first one ever makes the keys of cards, in this transaction.

    Raises:
        CardKeysError: the keys in the database do not open with these keys.
    """
    vault = Vault(keys)
    ring = await read_ring(connection, vault=vault, now=now)
    if not ring.is_whole:
        await store.lock_keys(connection)
        ring = await read_ring(connection, vault=vault, now=now)
        present = {kind for kind, some in _by_kind(ring).items() if some}
        for kind in KeyKind:
            if kind not in present:
                await _add(connection, vault, new_key(kind, version=1, random=random), random, now, _FOREVER)
        ring = await read_ring(connection, vault=vault, now=now)
    return Office(keys=keys, settings=settings, random=random, ring=ring, now=now)


async def read_ring(connection: Connection, *, vault: Vault, now: datetime) -> Ring:
    """Return the keys that still count, as the database has them."""
    rows = await store.list_keys(connection, now=now)
    return Ring.of(
        [
            vault.open_key(
                kind=KeyKind(row["kind"]),
                version=row["version"],
                sealed=row["sealed"],
                good_until=row["good_until"],
            )
            for row in rows
        ]
    )


async def rotate_key(
    connection: Connection, *, office: Office, kind: KeyKind, caller: Caller, now: datetime
) -> int:
    """Make a new key of this kind for everything new, and return its version.

    No card is invalidated: a root key only makes the ids of new cards, and codes made with the key before are
    accepted until they are over.
    """
    return await import_key(connection, office=office, kind=kind, value=None, caller=caller, now=now)


async def import_key(
    connection: Connection,
    *,
    office: Office,
    kind: KeyKind,
    value: bytes | None,
    caller: Caller,
    now: datetime,
) -> int:
    """Take a key that somebody else assigned (the province's root key), or make one where `value` is None.

    Raises:
        CardKeysError: the value is no key of this kind.
    """
    kind = KeyKind(kind)
    await store.lock_keys(connection)
    version = await store.last_version(connection, kind=kind) + 1
    if value is None:
        key = new_key(kind, version=version, random=office.random)
    else:
        key = _given(kind, version, value)
    await _add(connection, office.vault, key, office.random, now, _good_until(kind, office.settings, now))
    await record(
        connection,
        entries=[
            entry(
                caller, action="card.key", now=now, resource=f"card-key/{kind}", detail={"version": version}
            )
        ],
    )
    await office._reload(connection, now)
    return version


def _given(kind: KeyKind, version: int, value: bytes) -> CardKey:
    if len(value) != SIZES[kind]:
        raise CardKeysError(say["key_size"])
    try:
        public = sm2_public_key(value) if kind is KeyKind.SIGN else b""
    except ValueError:
        raise CardKeysError(say["key_size"]) from None
    return CardKey(kind=kind, version=version, value=value, public=public)


def _good_until(kind: KeyKind, settings: CardSettings, now: datetime) -> datetime:
    if kind is KeyKind.ROOT:
        return _FOREVER
    return now + timedelta(seconds=max(settings.dynamic_seconds, settings.signed_seconds)) + _GRACE


async def _add(
    connection: Connection,
    vault: Vault,
    key: CardKey,
    random: Callable[[int], bytes],
    now: datetime,
    good_until: datetime,
) -> None:
    sealed = vault.seal_key(key, nonce=random(NONCE_BYTES))
    await store.add_key(
        connection, kind=key.kind, version=key.version, sealed=sealed, now=now, good_until=good_until
    )


def _by_kind(ring: Ring) -> dict[KeyKind, tuple[CardKey, ...]]:
    return {KeyKind.ROOT: ring.roots, KeyKind.CODE: ring.codes, KeyKind.SIGN: ring.signs}


# What operations and queries share


async def card_now(
    connection: Connection, *, office: Office, card: int, now: datetime, locked: bool = False
) -> tuple[Card, int]:
    """Return the card and its revision.

    Raises:
        CardUnknownError: there is none with this number.
    """
    office.saw(now)
    rows = await store.get_cards(connection, cards=[card], now=now, locked=locked)
    if not rows:
        raise CardUnknownError(say["card_unknown"])
    return office.card_of(rows[0]), rows[0]["revision"]


def entry(
    caller: Caller,
    *,
    action: str,
    now: datetime,
    card: int | None = None,
    person: int | None = None,
    resource: str | None = None,
    outcome: Outcome = Outcome.DONE,
    detail: dict[str, object] | None = None,
) -> AuditEntry:
    """Return the audit entry of one act on cards; no value of a card is part of it."""
    return AuditEntry(
        at=now,
        actor=caller.actor,
        actor_name=caller.actor_name,
        action=action,
        person=person,
        resource=resource or (f"card/{card}" if card is not None else "card"),
        institution=caller.institution,
        outcome=outcome,
        detail=detail or {},
    )
