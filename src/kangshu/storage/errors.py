"""What can go wrong between us and PostgreSQL, or with a backup.

KangshuError
  StorageError
    DatabaseUnavailableError   the server does not answer: start or repair it; the service recovers by itself
      ServerStartError         the embedded server did not start: its log says why
    StorageFullError           the disk is full: make room; nothing was half stored
    TransactionConflictError   others changed the same rows each time: try again later
    JobLostError               the job's lease ran out: undo; another worker has it
    MigrationError             the database's shape and the program do not fit
      MigrationMalformedError  a package's migrations are not numbered 1, 2, 3 ...
      MigrationChangedError    an applied migration has another text today
      DatabaseNewerError       the database was made by a newer version
    BackupError
      BackupDamagedError       the file is not a whole backup: use another one
      BackupTargetError        restore wants an empty place
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind


class StorageError(KangshuError):
    """The root of this package's failures."""


class DatabaseUnavailableError(StorageError):
    """The database cannot be reached or went away; whether a commit under way arrived is not known."""

    kind = Kind.UNAVAILABLE


class ServerStartError(DatabaseUnavailableError):
    """The embedded server cannot be started as things are."""


class StorageFullError(StorageError):
    """The database's disk is full; the transaction was undone. The service goes on when there is room."""

    kind = Kind.UNAVAILABLE


class TransactionConflictError(StorageError):
    """The transaction met others at the same rows in every attempt; it was undone."""

    kind = Kind.BUSY


class JobLostError(StorageError):
    """The lease of the job under work ran out and another worker has the job; the work must not stand."""

    kind = Kind.INTERRUPTED


class MigrationError(StorageError):
    """The database's shape and the program do not fit; nothing was changed."""

    kind = Kind.CONFLICT


class MigrationMalformedError(MigrationError):
    """A package's migrations cannot be put in order: a defect of the program."""

    kind = Kind.FAULT


class MigrationChangedError(MigrationError):
    """A migration that this database has seen reads differently today."""


class DatabaseNewerError(MigrationError):
    """The database has seen migrations that this version does not know: use the newer version."""

    kind = Kind.UNSUPPORTED


class BackupError(StorageError):
    """A backup or restore that did not happen; the place named was left as it was."""


class BackupDamagedError(BackupError):
    """The file is no backup, or not a whole one."""

    kind = Kind.INCORRECT


class BackupTargetError(BackupError):
    """The place to restore to holds something already."""

    kind = Kind.CONFLICT
