"""What can be wrong with a circular.

QualityError
└── CircularError
    ├── CircularIssuedError      it went out already; what was issued stays
    ├── MonthNotOverError        wait for the month's end
    ├── TypesetterMissingError   install the extra, or name a font
    └── TypesettingError         take another form, and report it
"""

from __future__ import annotations

from kangshu.kernel.errors import Kind
from kangshu.kernel.texts import load_catalogue
from kangshu.quality.errors import QualityError

say = load_catalogue(__package__ or __name__)


class CircularError(QualityError):
    """Something about a circular could not be done."""


class CircularIssuedError(CircularError):
    """The month's circular was issued; look at that one, it is not issued again."""

    kind = Kind.CONFLICT


class MonthNotOverError(CircularError):
    """A circular is issued when its month is over; until then it is a draft."""

    kind = Kind.CONFLICT


class TypesetterMissingError(CircularError):
    """A PDF needs the extra `pdf` and a font with Chinese characters; the text says what to install."""

    kind = Kind.UNAVAILABLE


class TypesettingError(CircularError):
    """The typesetter failed on what we gave it."""

    kind = Kind.FAULT
