"""The office of health cards of one process, opened when somebody first needs it."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from kangshu.app.platform import Platform
from kangshu.healthcard import CardSettings, Office, load_settings, open_office


def card_settings(platform: Platform) -> CardSettings:
    """Return the settings of health cards: the region pack's own file, else the built-in one's.

    Raises:
        HealthCardError: a setting is missing or wrong.
    """
    folder = platform.settings.pack
    own = Path(folder) / "healthcard.toml" if folder else None
    return load_settings(own if own is not None and own.exists() else None)


class Offices:
    """Opens the office once, whoever asks first."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._opening = asyncio.Lock()
        self._office: Office | None = None

    async def __call__(self) -> Office:
        """Return the office.

        Raises:
            HealthCardError: its settings are wrong, or its keys do not open.
        """
        if self._office is None:
            async with self._opening:
                if self._office is None:
                    self._office = await self._open()
        return self._office

    async def _open(self) -> Office:
        platform = self._platform
        async with platform.database.transaction() as connection:
            return await open_office(
                connection,
                keys=platform.keys,
                settings=card_settings(platform),
                random=secrets.token_bytes,
                now=platform.clock.now(),
            )
