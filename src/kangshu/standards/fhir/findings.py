"""What the compiled checks hand upwards: findings that do not know yet where in the resource they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from kangshu.standards.fhir.model import Severity

# Beyond this many findings in one list nobody reads on; the number is arbitrary.
MAXIMUM_FINDINGS = 100


class Finding:
    """A fault, with its place below the value that was checked (`.name[0].family`).

    `key` and `values` make its text. A check returns no finding (`None`) on the usual way, which costs
    nothing; places are put together only where something is wrong.
    """

    __slots__ = ("code", "key", "path", "severity", "values")

    def __init__(
        self, key: str, code: str, *, path: str = "", severity: Severity = Severity.ERROR, **values: object
    ) -> None:
        self.key = key
        self.code = code
        self.path = path
        self.severity = severity
        self.values = values


Findings: TypeAlias = list[Finding]
Check: TypeAlias = Callable[[Any], Findings | None]
"""Takes a value of JSON, returns what is wrong with it or `None`."""


def below(step: str, found: Iterable[Finding]) -> Iterable[Finding]:
    """Move findings one step down: `.name` or `[0]` comes before their places."""
    for one in found:
        one.path = step + one.path
        yield one


def only_errors(found: Sequence[Finding]) -> Findings:
    """Return the findings for which a resource must be refused."""
    return [one for one in found if one.severity in (Severity.ERROR, Severity.FATAL)]
