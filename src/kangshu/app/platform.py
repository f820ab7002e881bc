"""Open everything that a command or a door needs: home, settings, keys, database, pack, lake."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kangshu.app.clock import SystemClock
from kangshu.app.errors import EnvironmentFaultError, SettingsError, say
from kangshu.app.pipeline import Senders
from kangshu.app.settings import Settings, load_settings
from kangshu.app.subscriptions import listeners, refusal_listeners
from kangshu.declarations import Pack, load_pack
from kangshu.identity import Linker, default_model
from kangshu.identity.linkage import LinkageError, LinkageModel, load_model
from kangshu.intake import IntakeServices
from kangshu.kernel.clock import Clock
from kangshu.lake import Engine, LakeEngine, SparkEngine, open_spark
from kangshu.security.keys import Keys, load_or_create
from kangshu.storage import backup, embedded
from kangshu.storage.database import Database
from kangshu.storage.migrations import migrate


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One open platform."""

    home: Path
    settings: Settings
    pack: Pack
    keys: Keys
    database: Database
    engine: Engine
    intake: IntakeServices
    clock: Clock
    linkage: LinkageModel
    """What weighs whether two records are one person."""
    cluster: SparkEngine | None = None

    @property
    def compute(self) -> LakeEngine:
        """What computes over the whole lake: the cluster where the settings name one, else this process."""
        return self.cluster or self.engine

    @property
    def anchor(self) -> Path:
        """The file outside the database that holds the audit chain's head."""
        return self.home / "keys" / "audit-anchor"


@asynccontextmanager
async def open_platform(home: Path, *, clock: Clock | None = None) -> AsyncIterator[Platform]:
    """Open the platform in `home`, made on the first use; migrations run by themselves.

    Raises:
        SettingsError: a setting is wrong.
        DeclarationError: the region pack is wrong.
        DatabaseUnavailableError: the database cannot be reached.
    """
    make_home(home)
    if backup.is_half_restored(home):
        raise EnvironmentFaultError(say("half_restored", path=home))
    clock = clock or SystemClock()
    settings = load_settings(home)
    pack = load_pack(Path(settings.pack) if settings.pack else None)
    linkage = linkage_of(settings)
    keys = load_or_create(home / "keys", random=secrets.token_bytes)
    database = await _open_database(home, settings)
    try:
        async with database.connection() as connection:
            await migrate(connection)
        engine = Engine(home, threads=settings.threads, memory_mib=settings.memory_mib)
        cluster = _cluster(home, settings)
        try:
            intake = IntakeServices(
                database=database,
                pack=pack,
                home=home,
                clock=clock,
                make_linker=lambda file_id: Linker(keys, random=secrets.token_bytes, origin=file_id),
                senders=Senders(),
                listeners=listeners(pack),
                refusal_listeners=refusal_listeners(pack),
            )
            yield Platform(
                home=home,
                settings=settings,
                pack=pack,
                keys=keys,
                database=database,
                engine=engine,
                intake=intake,
                clock=clock,
                linkage=linkage,
                cluster=cluster,
            )
        finally:
            if cluster:
                await asyncio.to_thread(cluster.close)
            engine.close()
    finally:
        await database.close()


def linkage_of(settings: Settings) -> LinkageModel:
    """Return the model that the settings name. The index is found by the keys of the one that ships."""
    ships = default_model()
    if not settings.linkage_model:
        return ships
    try:
        model = load_model(Path(settings.linkage_model).read_bytes())
    except (OSError, LinkageError):
        raise SettingsError(say("linkage_model_unreadable"), place="linkage_model") from None
    if model.keys != ships.keys:
        raise SettingsError(say("linkage_model_other_keys"), place="linkage_model")
    return model


def _cluster(home: Path, settings: Settings) -> SparkEngine | None:
    if settings.lake_engine != "spark":
        return None
    return open_spark(home, master=settings.spark_master, memory_mib=settings.memory_mib)


def make_home(home: Path) -> None:
    """Make the home folder, readable by its owner alone.

    Raises:
        EnvironmentFaultError: it cannot be made or written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EnvironmentFaultError(say("home_not_writable", path=home)) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise EnvironmentFaultError(say("home_not_writable", path=home))


async def _open_database(home: Path, settings: Settings) -> Database:
    if settings.database_url:
        return await Database.open(settings.database_url)
    url = await asyncio.to_thread(embedded.start, home)
    return await Database.open(url, revive=lambda: embedded.start(home))
