"""Somebody who reads, for a stated purpose, at one moment: the grants for what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kangshu import records
from kangshu.api.errors import say
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.consent import (
    AccessGrant,
    AccessRefusedError,
    ConsentError,
    Purpose,
    ReadRequest,
    ReasonMissingError,
    UnlinkedRead,
    allow_unlinked,
    grant_reads,
    purposes_for,
)
from kangshu.security.principals import Permission, Principal
from kangshu.storage.database import Connection


class Finder:
    """Who reads, what for, and when; `what` names for the audit what is read."""

    def __init__(self, asked: Asked, principal: Principal, *, what: str) -> None:
        self._services, self._asked, self._what = asked.services, asked, what
        self._purpose, self._reason = stated_purpose(asked.request)
        self.principal = principal
        self.now = asked.services.clock.now()

    @property
    def purpose(self) -> Purpose:
        """Why it is read."""
        return self._purpose

    @property
    def may_find(self) -> bool:
        """Whether he may find persons whom he may not read of; they are shown masked."""
        return self.principal.may(Permission.FIND_PERSONS)

    async def check_purpose(self) -> None:
        """Do nothing if whoever asks may read for this purpose at all, or only looks for persons.

        Asked before anybody is looked for, so that a refusal does not tell whether there was somebody.

        Raises:
            AccessRefusedError: no role of his includes it; that is on record.
            ReasonMissingError: an emergency without a reason.
        """
        if not self.principal.may(Permission.READ_RECORDS):
            return
        if self._purpose not in purposes_for(self.principal):
            await self._asked.note_refusal(self.principal, action="person.query")
            raise AccessRefusedError(say["fhir_purpose_unfit"], place="X-Purpose")
        if self._purpose is Purpose.EMERGENCY and not self._reason.strip():
            raise ReasonMissingError(say["fhir_reason"], place="X-Purpose-Reason")

    async def grant(self, connection: Connection, persons: Sequence[int]) -> AccessGrant:
        """Return the grant for a person, by all of the person's numbers.

        Raises:
            ConsentError: it is refused.
        """
        known = await records.institutions_of(connection, persons=persons)
        (grant,) = await self._grants(connection, {persons[0]: known})
        return grant

    async def grants(self, connection: Connection, groups: Sequence[Sequence[int]]) -> dict[int, AccessGrant]:
        """Return the grants for those of several persons who are within reach, by each one's first number.

        Raises:
            ConsentError: they are refused for anything else than reach.
        """
        if not self.principal.may(Permission.READ_RECORDS):
            return {}
        known = {
            group[0]: await records.institutions_of(connection, persons=group) for group in groups if group
        }
        found = await self._decided(connection, known)
        granted: dict[int, AccessGrant] = {}
        for person, decision in zip(known, found, strict=True):
            if isinstance(decision, AccessGrant):
                granted[person] = decision
            elif not isinstance(decision, AccessRefusedError):
                raise decision
        return granted

    async def open(
        self,
        connection: Connection,
        resources: Sequence[records.SealedResource],
        grant: AccessGrant | None,
    ) -> list[bytes]:
        """Open what was found: under the one grant, or under one for each person where nobody was named.

        Raises:
            ConsentError: one of them may not be read.
        """
        if grant is not None:
            return [one.open(grant=grant, now=self.now) for one in resources]
        await self._allow_unlinked(connection, resources)
        known = {one.person: frozenset({one.institution}) for one in resources if one.person is not None}
        grants = {one.person: one for one in await self._grants(connection, known)}
        return [one.open(grant=grants.get(one.person or 0), now=self.now) for one in resources]

    async def _grants(
        self, connection: Connection, persons: Mapping[int, frozenset[str]]
    ) -> list[AccessGrant]:
        return [_granted(one) for one in await self._decided(connection, persons)]

    async def _decided(
        self, connection: Connection, persons: Mapping[int, frozenset[str]]
    ) -> list[AccessGrant | ConsentError]:
        requests = [
            ReadRequest(
                principal=self.principal,
                person=person,
                purpose=self._purpose,
                reason=self._reason,
                known_institutions=known,
                what=self._what,
            )
            for person, known in persons.items()
        ]
        return await grant_reads(
            connection, requests=requests, now=self.now, whereabouts=self._services.whereabouts
        )

    async def _allow_unlinked(
        self, connection: Connection, resources: Sequence[records.SealedResource]
    ) -> None:
        senders = {
            one.institution
            for one in resources
            if one.person is None and records.may_concern_persons(type=one.type)
        }
        requests = [
            UnlinkedRead(
                principal=self.principal,
                institution=sender,
                purpose=self._purpose,
                reason=self._reason,
                what=self._what,
            )
            for sender in sorted(senders)
        ]
        for refusal in await allow_unlinked(connection, requests=requests, now=self.now):
            if refusal is not None:
                raise refusal


def _granted(found: AccessGrant | ConsentError) -> AccessGrant:
    if isinstance(found, ConsentError):
        raise found
    return found
