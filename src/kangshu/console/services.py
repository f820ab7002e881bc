"""What the console needs from the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from kangshu.consent import Whereabouts
from kangshu.declarations import Dataset, Pack
from kangshu.healthcard import Office
from kangshu.identity import LinkageModel
from kangshu.intake import Receipt
from kangshu.intake.messages import ReplayMessages
from kangshu.kernel.clock import Clock
from kangshu.kernel.texts import Text
from kangshu.lake import Engine
from kangshu.records import RowMapper
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
class DemoAccount:
    """An account of a demonstration site, shown to everybody on the sign-in page."""

    name: str
    password: str
    title: Text


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that the pages use; made once by the app and shared by all requests."""

    database: Database
    keys: Keys
    engine: Engine
    pack: Pack
    clock: Clock
    random: Callable[[int], bytes]
    """`random(n)` gives n unpredictable bytes (`secrets.token_bytes`)."""
    whereabouts: Whereabouts
    rows: RowMapper
    """Makes entries of a timeline out of rows that came in bulk."""
    submit_upload: SubmitUpload
    write_template: Callable[[Dataset], bytes]
    """Makes the Excel template of a data set."""
    lake_home: Path
    """Where the lake and the lists of refused rows lie."""
    inbox: Path
    """A folder for uploads on their way in; best on the lake's own disk."""
    anchor: Path
    """Where the head of the audit chain is kept."""
    replay: ReplayMessages | None = None
    """Tries refused messages again; without it the pages offer no such thing."""
    linkage: LinkageModel | None = None
    """What weighs whether two records are one person; None: the model that ships."""
    card_office: Callable[[], Awaitable[Office]] | None = None
    """Opens the office of health cards, once; without it their pages are not there."""
    region: Text = field(default_factory=lambda: Text(zh="", en=""))
    zone: tzinfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    fonts: Path | None = None
    """A folder with the font for PDFs (Noto Sans CJK); None looks where systems keep fonts."""
    upload_limit_bytes: int = 8 << 30
    demo_accounts: tuple[DemoAccount, ...] = ()
    secure_cookies: bool = False
    """Set behind TLS: cookies are then never sent in the clear and browsers are told to stay with https."""
