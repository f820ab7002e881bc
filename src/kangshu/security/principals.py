"""Who acts: a person of the staff, a machine or the system itself, with roles and how far they reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kangshu.kernel.texts import Text, load_catalogue
from kangshu.security.errors import NotPermittedError
from kangshu.security.policy import ROLE_PERMISSIONS, SCOPE_PERMISSIONS, Permission, Role
from kangshu.standards.identifiers import division_prefix

__all__ = [
    "SYSTEM",
    "Permission",
    "Principal",
    "PrincipalKind",
    "Reach",
    "ReachKind",
    "Role",
    "parse_reaches",
    "permission_title",
    "role_title",
]

say = load_catalogue(__package__ or __name__)


class ReachKind(StrEnum):
    """Over what somebody's roles hold."""

    REGION = "region"
    DIVISION = "division"
    INSTITUTION = "institution"
    DEPARTMENT = "department"


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far somebody's roles hold.

    `code` is empty for the region, a division code (it includes every division inside), an
    institution code, or `<institution>/<department>`.
    """

    kind: ReachKind
    code: str = ""

    def __post_init__(self) -> None:
        if self.kind is ReachKind.DIVISION:
            division_prefix(self.code)
        elif self.kind is ReachKind.REGION and self.code:
            raise ValueError("the reach over the region has no code")
        elif self.kind is ReachKind.INSTITUTION and (not self.code or "/" in self.code):
            raise ValueError("the reach over an institution has its code")
        elif self.kind is ReachKind.DEPARTMENT and not all(self.code.partition("/")):
            raise ValueError("the reach over a department is written institution/department")

    @classmethod
    def region(cls) -> Reach:
        """Return the reach over everything."""
        return cls(kind=ReachKind.REGION)

    @classmethod
    def division(cls, code: str) -> Reach:
        """Return the reach over a division and every division inside it."""
        return cls(kind=ReachKind.DIVISION, code=code)

    @classmethod
    def institution(cls, code: str) -> Reach:
        """Return the reach over one institution."""
        return cls(kind=ReachKind.INSTITUTION, code=code)

    @classmethod
    def department(cls, institution: str, department: str) -> Reach:
        """Return the reach over one department of an institution."""
        return cls(kind=ReachKind.DEPARTMENT, code=f"{institution}/{department}")

    @classmethod
    def parse(cls, text: str) -> Reach:
        """Return the reach that `str(reach)` wrote: `region`, `division:990100`, `institution:...`.

        Raises:
            ValueError: it is none of these.
        """
        kind, _, code = text.partition(":")
        return cls(kind=ReachKind(kind), code=code)

    def __str__(self) -> str:
        return f"{self.kind}:{self.code}" if self.code else str(self.kind)

    @property
    def institution_code(self) -> str | None:
        """The institution of an institution's or a department's reach."""
        if self.kind in (ReachKind.INSTITUTION, ReachKind.DEPARTMENT):
            return self.code.partition("/")[0]
        return None

    def covers(
        self,
        *,
        institution_code: str | None = None,
        division_code: str | None = None,
        department_code: str | None = None,
    ) -> bool:
        """Return whether the place lies within reach.

        Give what is known of the place. A division's reach needs `division_code` (of the institution),
        a department's reach both institution and department. A place of which nothing is known is
        covered by the region only.
        """
        match self.kind:
            case ReachKind.REGION:
                return True
            case ReachKind.DIVISION:
                return _lies_in(division_code, self.code)
            case ReachKind.INSTITUTION:
                return institution_code == self.code
            case ReachKind.DEPARTMENT:
                return f"{institution_code}/{department_code}" == self.code


class PrincipalKind(StrEnum):
    """What sort of actor."""

    STAFF = "staff"
    MACHINE = "machine"
    SYSTEM = "system"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Somebody or something that was let in.

    `id` is stable and goes into the audit (`staff:li.wei`, `machine:kc-...`, `system`); `name` is for
    people. A machine has scopes instead of roles.
    """

    id: str
    name: str
    kind: PrincipalKind
    roles: frozenset[Role] = frozenset()
    reaches: tuple[Reach, ...] = ()
    scopes: frozenset[str] = frozenset()

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything that the roles and scopes include."""
        if self.kind is PrincipalKind.SYSTEM:
            return frozenset(Permission)
        granted = [ROLE_PERMISSIONS[role] for role in self.roles]
        granted += [SCOPE_PERMISSIONS.get(scope, frozenset()) for scope in self.scopes]
        return frozenset[Permission]().union(*granted)

    def may(self, permission: Permission) -> bool:
        """Return whether a role or scope includes `permission`. How far it reaches is `covers`."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Do nothing if `may(permission)`.

        Raises:
            NotPermittedError: no role or scope includes it.
        """
        if not self.may(permission):
            title = permission_title(permission)
            raise NotPermittedError(say("not_permitted", permission=title.zh, permission_en=title.en))

    def covers(
        self,
        *,
        institution_code: str | None = None,
        division_code: str | None = None,
        department_code: str | None = None,
    ) -> bool:
        """Return whether any reach covers the place; see `Reach.covers`."""
        return any(
            reach.covers(
                institution_code=institution_code,
                division_code=division_code,
                department_code=department_code,
            )
            for reach in self.reaches
        )

    @property
    def institutions(self) -> frozenset[str]:
        """The institutions where this principal works (by institution or department)."""
        return frozenset(code for reach in self.reaches if (code := reach.institution_code))

    @property
    def divisions(self) -> tuple[str, ...]:
        """The divisions over which this principal reaches."""
        return tuple(reach.code for reach in self.reaches if reach.kind is ReachKind.DIVISION)

    @property
    def region_wide(self) -> bool:
        """Whether this principal reaches over everything."""
        return any(reach.kind is ReachKind.REGION for reach in self.reaches)


SYSTEM = Principal(id="system", name="系统", kind=PrincipalKind.SYSTEM, reaches=(Reach.region(),))
"""The platform itself, and whoever holds its home and its command line."""


def role_title(role: Role) -> Text:
    """Return what a role is called."""
    return say[f"role_{role.replace('-', '_')}"]


def permission_title(permission: Permission) -> Text:
    """Return what a permission is called."""
    return say[f"permission_{permission.replace('-', '_')}"]


def parse_reaches(texts: Iterable[str]) -> tuple[Reach, ...]:
    """Return the reaches that were written with `str`."""
    return tuple(Reach.parse(text) for text in texts)


def _lies_in(division_code: str | None, outer: str) -> bool:
    if not division_code:
        return False
    try:
        return division_prefix(division_code).startswith(division_prefix(outer))
    except ValueError:  # a place whose division is not known well enough is not within reach
        return False
