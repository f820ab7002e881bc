"""Consent's question to lake and records: which institutions know a person?"""

from __future__ import annotations

from kangshu import identity, lake, records
from kangshu.app.platform import Platform
from kangshu.storage.database import Connection


class LakeWhereabouts:
    """Answers from the rows and messages that institutions sent, under whichever number of the person."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
        """Return the institutions that have sent anything about the person."""
        groups = await identity.persons_meaning(connection, persons=[person])
        persons = groups[person]
        by_message = await records.institutions_of(connection, persons=persons)
        by_file = await lake.institutions_of(self._platform.database, self._platform.engine, persons=persons)
        return {*by_message, *by_file}
