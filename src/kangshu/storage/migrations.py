"""Bring a database of any earlier version to the shape that this program knows.

Each package carries `migrations/NNNN_title.sql`, numbered 1, 2, 3 ... without gap. What was applied is on
record with its digest. All missing migrations are applied in one transaction, packages in the order of the
house, so an upgrade happens wholly or not at all; an advisory lock lets one process at a time do it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg

from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection
from kangshu.storage.errors import (
    DatabaseNewerError,
    MigrationChangedError,
    MigrationError,
    MigrationMalformedError,
)

# Bottom-up, as ARCHITECTURE.md draws the house: a package's tables may refer to those before it.
ORDER = (
    "storage",
    "security",
    "audit",
    "directory",
    "terminology",
    "lake",
    "intake",
    "identity",
    "healthcard",
    "consent",
    "records",
    "quality",
    "forms",
    "cases",
    "indicators",
    "warnings",
    "appointments",
    "referral",
    "recognition",
    "prescriptions",
    "primarycare",
    "casemix",
    "sharing",
    "publications",
    "supervision",
    "surveillance",
    "operations",
    "assessment",
    "performance",
    "api",
    "console",
    "resident",
    "app",
)

_FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
# Arbitrary, but the same in every process: "kangshu" read as a number.
_LOCK = 0x6B616E67736875

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step of one package; `digest` is the SHA-256 of its text with line ends as LF."""

    package: str
    number: int
    name: str
    text: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).digest()

    @property
    def place(self) -> str:
        return f"{self.package}/migrations/{self.name}"


async def migrate(connection: Connection, *, packages: Sequence[str] | None = None) -> list[Migration]:
    """Apply what is missing and return it; an up-to-date database is left alone.

    `packages` are short names (`identity`); by default every package of the house that has migrations.
    The caller may be in a transaction; then nothing stands before its commit.

    Raises:
        MigrationChangedError: a migration applied earlier has another text today.
        DatabaseNewerError: the database has seen migrations that are not in this program.
        MigrationError: a step failed; nothing was changed.
    """
    return await apply(connection, migrations=load_migrations(packages=packages))


def load_migrations(*, packages: Sequence[str] | None = None) -> list[Migration]:
    """Return the migrations of `packages`, or of the whole house, in the order in which they apply.

    Raises:
        MigrationMalformedError: files are misnumbered, or a package has no place in `ORDER`.
    """
    root = resources.files("kangshu")
    named = _packages_with_migrations(root) if packages is None else set(packages)
    for package in sorted(named.difference(ORDER)):
        raise MigrationMalformedError(say("migration_unplaced", package=package))
    return [step for package in ORDER if package in named for step in _read_package(root, package)]


async def apply(connection: Connection, *, migrations: Sequence[Migration]) -> list[Migration]:
    """Apply those of `migrations` that the database has not seen, in the order given; see `migrate`."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            """CREATE TABLE IF NOT EXISTS storage_migration (
                 package text NOT NULL, number integer NOT NULL, digest bytea NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (package, number))"""
        )
        rows = await connection.fetch("SELECT package, number, digest FROM storage_migration")
        seen: dict[tuple[str, int], bytes] = {(row["package"], row["number"]): row["digest"] for row in rows}
        missing = _missing(migrations, seen)
        for migration in missing:
            await _apply_one(connection, migration)
    return missing


def _missing(migrations: Sequence[Migration], seen: dict[tuple[str, int], bytes]) -> list[Migration]:
    known = {(step.package, step.number) for step in migrations}
    covered = {step.package for step in migrations}
    for package, number in sorted(seen):
        if package in covered and (package, number) not in known:
            raise DatabaseNewerError(say["migration_unknown"], place=f"{package}/migrations/{number:04d}")
    missing: list[Migration] = []
    for step in migrations:
        digest = seen.get((step.package, step.number))
        if digest is None:
            missing.append(step)
        elif digest != step.digest:
            raise MigrationChangedError(say["migration_changed"], place=step.place)
    return missing


async def _apply_one(connection: Connection, step: Migration) -> None:
    try:
        await connection.execute(step.text)
    except (
        asyncpg.SyntaxOrAccessError,
        asyncpg.DataError,
        asyncpg.IntegrityConstraintViolationError,
    ) as error:
        raise MigrationError(
            say("migration_failed", code=getattr(error, "sqlstate", "?????")), place=step.place
        ) from error
    await connection.execute(
        "INSERT INTO storage_migration (package, number, digest) VALUES ($1, $2, $3)",
        step.package,
        step.number,
        step.digest,
    )


def _packages_with_migrations(root: Traversable) -> set[str]:
    found: set[str] = set()
    for package in root.iterdir():
        folder = package.joinpath("migrations")
        if folder.is_dir() and any(file.name.endswith(".sql") for file in folder.iterdir()):
            found.add(package.name)
    return found


def _read_package(root: Traversable, package: str) -> list[Migration]:
    folder = root.joinpath(package, "migrations")
    if not folder.is_dir():
        return []
    steps: list[Migration] = []
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    for expected, name in enumerate(names, start=1):
        matched = _FILE_NAME.match(name)
        if not matched or int(matched[1]) != expected:
            raise MigrationMalformedError(say["migration_misnumbered"], place=f"{package}/migrations/{name}")
        text = folder.joinpath(name).read_text(encoding="utf-8")
        steps.append(Migration(package=package, number=expected, name=name, text=text))
    return steps
