"""The client-registry steps of OpenHIE (OHIE-CR), in their order, with the answers that are expected.

The messages are those of SanteMPI's conformance tests (Apache-2.0), which are not part of this project; what
is expected stands in the same tests and is said here in our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kangshu.app.messages.lane import MessageLane
from kangshu.app.platform import Platform
from kangshu.declarations import BASE_PACK
from kangshu.intake.messages import MessageFormat
from kangshu.mapping import Authorities, IdentifierKind, load_authorities
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.standards import hl7v2

_LOCAL = IdentifierKind.LOCAL_NUMBER
_DOMAINS = {
    "TEST": ("2.16.840.1.113883.3.72.5.9.1", "TEST_HARNESS"),
    "TEST_A": ("2.16.840.1.113883.3.72.5.9.2", "TEST_HARNESS_A"),
    "NID": ("2.16.840.1.113883.3.72.5.9.9", ""),
}
"""Assigning authorities that the tests set up, with OID and the only application that may assign."""

Check = Callable[[hl7v2.Message], bool]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One message of the tests and what its answer must be."""

    name: str
    expects: str
    check: Check


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of a step."""

    step: Step
    answer: str
    agrees: bool


def registry_authorities() -> Authorities:
    """Return the built-in table with the tests' authorities, strict as the tests ask."""
    base = load_authorities(BASE_PACK / "authorities.toml")
    names = {key: (_LOCAL, name) for name, (oid, _) in _DOMAINS.items() for key in (name, oid)}
    return replace(
        base,
        by_name={**base.by_name, **names},
        oids={name: oid for name, (oid, _) in _DOMAINS.items()},
        assigned_by={name: frozenset({sender}) for name, (_, sender) in _DOMAINS.items() if sender},
        strict=True,
    )


async def run_client_registry(platform: Platform, lane: MessageLane, *, folder: Path) -> list[StepResult]:
    """Send every step to a registry of its own settings, one after the other."""
    authorities = registry_authorities()
    tools = replace(
        lane.tools,
        authorities=authorities,
        hl7v2=load_hl7v2(BASE_PACK / "hl7v2", authorities=authorities),
    )
    registry = MessageLane(platform.database, tools, may_query=lambda _arrival: True)
    results: list[StepResult] = []
    for step in STEPS:
        body = (folder / f"{step.name}.txt").read_bytes()
        taken = await registry.take(
            body=body, format=MessageFormat.HL7V2, channel="conformance", principal=None
        )
        message = hl7v2.parse(taken.answer)
        results.append(StepResult(step=step, answer=_shown(message), agrees=step.check(message)))
    return results


def as_page(results: Sequence[StepResult], *, remarks: dict[str, str] | None = None) -> str:
    """Return the results as a page."""
    agree = sum(result.agrees for result in results)
    lines = [
        "# Client registry (OHIE-CR, PIX and PDQ)",
        "",
        "Written by `make conformance` from its results; do not edit. The messages are those of SanteMPI's",
        "tests (Apache-2.0), sent in their order to one registry with the tests' assigning authorities and",
        f"`strict = true`. {agree} of {len(results)} steps are answered as expected.",
        "",
        "| step | expected | answered | |",
        "|---|---|---|---|",
    ]
    for result in results:
        remark = (remarks or {}).get(result.step.name, "")
        verdict = "agrees" if result.agrees else f"**differs** {remark}"
        lines.append(f"| {result.step.name} | {result.step.expects} | {result.answer} | {verdict} |")
    return "\n".join([*lines, ""])


def _shown(message: hl7v2.Message) -> str:
    parts = [message.text("MSA-1")]
    if status := message.text("QAK-2"):
        parts.append(status)
    if place := _place(message):
        parts.append(f"at {place}")
    numbers = [
        f"{segment.text(3, 1, 1, number)} of {segment.text(3, 4, 1, number)}"
        for segment in message.all("PID")
        for number in range(1, len(segment[3]) + 1)
        if segment.text(3, 4, 1, number) != "KANGSHU"
    ]
    if numbers:
        parts.append("; ".join(numbers))
    return ", ".join(parts)


def _place(message: hl7v2.Message) -> str:
    error = message.first("ERR")
    if error is None:
        return ""
    segment, field, component = error.text(2), error.text(2, 3), error.text(2, 5)
    return f"{segment}-{field}" + (f".{component}" if component else "")


def _code(*codes: str) -> Check:
    return lambda message: message.text("MSA-1") in codes


def _refused_at(field: str, component: str = "") -> Check:
    def check(message: hl7v2.Message) -> bool:
        error = message.first("ERR")
        return (
            message.text("MSA-1") == "AE"
            and message.text("QAK-2") == "AE"
            and error is not None
            and error.text(2) == "QPD"
            and error.text(2, 3) == field
            and (not component or error.text(2, 5) == component)
        )

    return check


def _none_found(message: hl7v2.Message) -> bool:
    return message.text("MSA-1") == "AA" and message.text("QAK-2") == "NF" and not message.all("PID")


def _has(*numbers: tuple[str, str], only: bool = False) -> Check:
    """One PID that has these numbers, each with namespace, OID and ISO."""

    def check(message: hl7v2.Message) -> bool:
        pids = message.all("PID")
        if message.text("MSA-1") != "AA" or message.text("QAK-2") != "OK" or len(pids) != 1:
            return False
        pid = pids[0]
        told = {
            (*(pid.text(3, 4, part, number) for part in (1, 2, 3)), pid.text(3, 1, 1, number))
            for number in range(1, len(pid[3]) + 1)
        }
        wanted = {(name, _DOMAINS[name][0], "ISO", value) for value, name in numbers}
        return told == wanted if only else wanted <= told

    return check


def _named(family: str, given: str, *, pid: int = 5) -> Check:
    def check(message: hl7v2.Message) -> bool:
        return any(
            segment.text(pid).upper() == family and segment.text(pid, 2).upper() == given
            for segment in message.all("PID")
        )

    return check


def _each(*checks: Check) -> Check:
    return lambda message: all(check(message) for check in checks)


def _mother_is(message: hl7v2.Message) -> bool:
    pid = message.first("PID")
    return pid is not None and pid.text(21) == "RJ-439" and pid.text(6) == "JONES"


_ACCEPTED = _code("AA", "CA")
_JENNIFER = _each(_has(("RJ-439", "TEST")), _named("JONES", "JENNIFER"))


def _step(name: str, expects: str, check: Check) -> Step:
    return Step(name=f"OHIE-CR-{name}", expects=expects, check=check)


STEPS: tuple[Step, ...] = (
    _step("01-10", "refused: a number without an authority", _code("AR", "AE", "CR", "CE")),
    _step("03-10", "AR: the OID of the authority is not known", _code("AR", "CR")),
    _step("03-20", "AR: the namespace is not known", _code("AR", "CR")),
    _step("05-10", "accepted", _ACCEPTED),
    _step("05-20", "accepted: a newborn without a name", _ACCEPTED),
    _step("05-30", "the newborn's number, with namespace and OID", _has(("RJ-441", "TEST"))),
    _step("06-20", "accepted", _ACCEPTED),
    _step("06-30", "accepted", _ACCEPTED),
    _step("06-40", "both numbers of the person", _has(("RJ-449", "TEST_A"), ("NID-000345435", "NID"))),
    _step("07-10", "accepted", _ACCEPTED),
    _step("07-20", "accepted", _ACCEPTED),
    _step("07-30", "the newborn's number", _has(("RJ-440", "TEST"))),
    _step(
        "07-40", "the newborn with the mother's name and number", _each(_has(("RJ-440", "TEST")), _mother_is)
    ),
    _step("10-10", "accepted", _ACCEPTED),
    _step("10-20", "the number of the domain asked for, no other", _has(("RJ-444", "TEST"), only=True)),
    _step("10-30", "AE at QPD-4: no such domain", _refused_at("4")),
    _step("10-40", "AA, nothing found: no number in that domain", _none_found),
    _step("11-10", "accepted", _ACCEPTED),
    _step("11-20", "the person with number and name", _JENNIFER),
    _step("11-30", "AA, nothing found", _none_found),
    _step("11-40", "AE: no such parameter", _code("AE", "AR")),
    _step("11-50", "the person, numbers of the domain asked for", _has(("RJ-439", "TEST"), only=True)),
    _step("11-60", "AA, nothing found: no number in that domain", _none_found),
    _step("11-70", "AE at QPD-8: no such domain", _refused_at("8")),
    _step("13-10", "accepted", _ACCEPTED),
    _step("13-15", "accepted", _ACCEPTED),
    _step("13-20", "children found by the mother's number", lambda message: _includes(message, "RJ-440")),
    _step("13-30", "children found by the mother's name", lambda message: _includes(message, "RJ-440")),
    _step("14-10", "accepted", _ACCEPTED),
    _step("14-20", "found by year of birth", lambda message: _includes(message, "RJ-439")),
    _step("14-30", "found by month of birth", lambda message: _includes(message, "RJ-439")),
    _step("14-40", "found by day of birth", lambda message: _includes(message, "RJ-439")),
    _step("14-50", "AA, nothing found", _none_found),
    _step("15-10", "accepted", _ACCEPTED),
    _step("15-20", "found by sex and family name", lambda message: _includes(message, "RJ-439")),
    _step("15-30", "found by year of birth and name", lambda message: _includes(message, "RJ-439")),
    _step("15-40", "found by birth date and sex", lambda message: _includes(message, "RJ-439")),
    _step("15-50", "AA, nothing found: another sex", _none_found),
    _step("15-60", "AA, nothing found: another given name", _none_found),
)


def _includes(message: hl7v2.Message, number: str) -> bool:
    return message.text("MSA-1") == "AA" and any(
        segment.text(3, 1, 1, place) == number
        for segment in message.all("PID")
        for place in range(1, len(segment[3]) + 1)
    )
