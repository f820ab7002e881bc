"""Roles, scopes and reaches: what somebody may do and over what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.security.errors import NotPermittedError
from kangshu.security.policy import ROLE_PERMISSIONS, SCOPE_PERMISSIONS, Permission, Role
from kangshu.security.principals import (
    SYSTEM,
    Principal,
    PrincipalKind,
    Reach,
    ReachKind,
    permission_title,
    role_title,
)

CODES = ("D2143569X", "A10000001")
divisions = st.from_regex(r"[1-9][0-9]{5}", fullmatch=True)
reaches = st.one_of(
    st.just(Reach.region()),
    divisions.map(Reach.division),
    st.sampled_from(CODES).map(Reach.institution),
    st.sampled_from(CODES).map(lambda code: Reach.department(code, "03.01")),
)


def _staff(*roles: Role, reaches: tuple[Reach, ...] = ()) -> Principal:
    return Principal(
        id="staff:someone", name="某人", kind=PrincipalKind.STAFF, roles=frozenset(roles), reaches=reaches
    )


@given(reach=reaches)
def test_a_reach_reads_back_as_it_was_written(reach: Reach):
    assert Reach.parse(str(reach)) == reach


@pytest.mark.parametrize(
    "text",
    ["", "world", "division:", "division:abc", "region:99", "institution:", "department:x", "department:/"],
)
def test_a_malformed_reach_cannot_exist(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - each says its own reason
        Reach.parse(text)


@pytest.mark.parametrize(
    ("reach", "institution", "division", "department", "covered"),
    [
        ("region", None, None, None, True),
        ("division:990100", "D2143569X", "990102", None, True),
        ("division:990100", None, "990100", None, True),
        ("division:990100", "D2143569X", "990200", None, False),
        ("division:990100", "D2143569X", "990000", None, False),
        ("division:990100", "D2143569X", None, None, False),
        ("division:990100", "D2143569X", "unknown", None, False),
        ("institution:D2143569X", "D2143569X", None, None, True),
        ("institution:D2143569X", "A10000001", None, None, False),
        ("institution:D2143569X", None, "990102", None, False),
        ("department:D2143569X/03.01", "D2143569X", None, "03.01", True),
        ("department:D2143569X/03.01", "D2143569X", None, None, False),
        ("department:D2143569X/03.01", "A10000001", None, "03.01", False),
    ],
)
def test_a_reach_covers_what_lies_inside_it_and_nothing_of_which_too_little_is_known(
    reach: str, institution: str | None, division: str | None, department: str | None, covered: bool
):
    principal = _staff(Role.CENTRE_STAFF, reaches=(Reach.parse(reach),))

    assert (
        principal.covers(institution_code=institution, division_code=division, department_code=department)
        == covered
    )


@given(mine=st.lists(reaches, max_size=3), more=st.lists(reaches, max_size=3), division=divisions)
def test_more_reaches_never_cover_less(mine: list[Reach], more: list[Reach], division: str):
    fewer = _staff(Role.CENTRE_STAFF, reaches=tuple(mine))
    wider = _staff(Role.CENTRE_STAFF, reaches=(*mine, *more))

    for institution in (None, *CODES):
        place = {"institution_code": institution, "division_code": division}
        assert wider.covers(**place) >= fewer.covers(**place)


def test_institutions_divisions_and_region_are_read_from_the_reaches():
    principal = _staff(
        Role.CLINICIAN,
        reaches=(Reach.institution("A"), Reach.department("B", "03"), Reach.division("990100")),
    )

    assert principal.institutions == {"A", "B"}
    assert principal.divisions == ("990100",)
    assert not principal.region_wide
    assert SYSTEM.region_wide


@given(roles=st.sets(st.sampled_from(Role)), permission=st.sampled_from(Permission))
def test_somebody_may_do_what_one_of_the_roles_includes(roles: set[Role], permission: Permission):
    expected = any(permission in ROLE_PERMISSIONS[role] for role in roles)

    assert _staff(*roles).may(permission) == expected


def test_who_runs_the_system_or_audits_it_reads_no_records():
    for role in (Role.ADMINISTRATOR, Role.AUDITOR, Role.STATISTICIAN):
        assert not _staff(role).may(Permission.READ_RECORDS)
    assert not _staff(Role.ADMINISTRATOR).may(Permission.SEE_AUDIT)
    assert not _staff(Role.AUDITOR).may(Permission.MANAGE_ACCOUNTS)


def test_only_clinicians_break_the_glass():
    may = {role for role in Role if _staff(role).may(Permission.BREAK_GLASS)}

    assert may == {Role.CLINICIAN}


def test_a_machine_may_do_what_its_scopes_say():
    machine = Principal(
        id="machine:x",
        name="x",
        kind=PrincipalKind.MACHINE,
        scopes=frozenset({"datasets.write", "unheard.of"}),
    )

    assert machine.permissions == SCOPE_PERMISSIONS["datasets.write"]
    assert not Principal(id="x", name="x", kind=PrincipalKind.MACHINE).permissions


def test_requiring_what_is_missing_is_refused_by_its_name():
    with pytest.raises(NotPermittedError, match=r"调阅.*reading a person's records"):
        _staff(Role.AUDITOR).require(Permission.READ_RECORDS)
    _staff(Role.CLINICIAN).require(Permission.READ_RECORDS)


def test_every_role_and_permission_has_a_name_and_every_role_its_permissions():
    for role in Role:
        assert role_title(role).zh
        assert ROLE_PERMISSIONS[role]
    for permission in Permission:
        assert permission_title(permission).en
        assert any(permission in granted for granted in ROLE_PERMISSIONS.values())


def test_every_kind_of_reach_can_be_told_apart():
    assert {
        Reach.parse(text).kind for text in ("region", "division:99", "institution:A", "department:A/b")
    } == set(ReachKind)
