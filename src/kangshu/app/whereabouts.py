"""Consent's question to the lake: which institutions know a person?"""

from __future__ import annotations

from kangshu import lake
from kangshu.app.platform import Platform
from kangshu.storage.database import Connection


class LakeWhereabouts:
    """Answers from the rows that institutions have sent."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
        """Return the institutions that have sent rows about the person."""
        return set(
            await lake.institutions_of(self._platform.database, self._platform.engine, persons=[person])
        )
