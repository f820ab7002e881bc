"""What can go wrong with linkage.

KangshuError
  IdentityError
    LinkageError
      ModelUnreadableError    incorrect    the text is no linkage model, or was changed after it was made
      TableUnusableError      incorrect    give a table that tells something by which persons can be compared
      TrainingFailedError     incorrect    give a table with persons that are there more than once
      TrainerMissingError     unsupported  install the extra, or train with the own trainer
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.identity.errors import IdentityError
from kangshu.kernel.errors import Kind


class LinkageError(IdentityError):
    """The root of this room's failures."""


class ModelUnreadableError(LinkageError):
    """Give a model as `dump_model` wrote it."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class TableUnusableError(LinkageError):
    """Give a table whose columns tell of persons."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class TrainingFailedError(LinkageError):
    """Give a table in which enough persons are there more than once."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class TrainerMissingError(LinkageError):
    """Install the extra, or train with the own trainer."""

    kind: ClassVar[Kind] = Kind.UNSUPPORTED
