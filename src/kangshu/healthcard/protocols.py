"""What this package asks of others outside the platform; `app` brings the implementations."""

from __future__ import annotations

from typing import Protocol


class Resolver(Protocol):
    """A system whose dynamic codes only it can read (the insurance, a provincial app)."""

    async def lasting_number(self, text: str) -> str | None:
        """Return the lasting number behind a dynamic code, or None where the code is not accepted."""
        ...


class NationalIndex(Protocol):
    """The index that knows in which region an index id is at home."""

    async def home_of(self, index_id: str) -> str | None:
        """Return the division code of the region, or None where nobody knows."""
        ...
