"""What the machine doors need from the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from kangshu.consent import Whereabouts
from kangshu.declarations import Pack
from kangshu.healthcard import Office
from kangshu.identity import LinkageModel
from kangshu.intake import Receipt
from kangshu.intake.messages import TakeMessage
from kangshu.kernel.clock import Clock
from kangshu.mapping import Authorities
from kangshu.records import ReadFhir, WriteFhir
from kangshu.security.keys import Keys
from kangshu.security.principals import Principal
from kangshu.storage.database import Database


class SubmitUpload(Protocol):
    """Takes a file over and answers with its receipt, which may still be waiting for work."""

    async def __call__(
        self,
        *,
        file: Path,
        name: str,
        dataset: str | None,
        institution: str | None,
        period: str | None,
        principal: Principal,
    ) -> Receipt:
        """Take in the file at `file`, which from now on belongs to the callee (it moves or removes it)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that the doors use; made once by the app and shared by all requests."""

    database: Database
    keys: Keys
    pack: Pack
    clock: Clock
    random: Callable[[int], bytes]
    """`random(n)` gives n unpredictable bytes (`secrets.token_bytes`)."""
    submit_upload: SubmitUpload
    take_message: TakeMessage
    write_fhir: WriteFhir
    read_fhir: ReadFhir
    whereabouts: Whereabouts
    lake_home: Path
    """Where the lake and the lists of refused rows lie."""
    inbox: Path
    """A folder for files on their way in; best on the lake's own disk."""
    authorities: Authorities = field(default_factory=Authorities)
    """Who assigns numbers of persons, as the region pack names them."""
    linkage: LinkageModel | None = None
    """What weighs whether two records are one person; None: the model that ships."""
    card_office: Callable[[], Awaitable[Office]] | None = None
    """Opens the office of health cards, once; without it there is no `/cards`."""
    upload_limit_bytes: int = 8 << 30
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """What `/metrics` shows."""
    version: str = ""
