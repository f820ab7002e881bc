"""What a benchmark is and what one run of it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kangshu.kernel.texts import Text

Stage: TypeAlias = Callable[[str], None]
"""Told what is being done now, for whoever waits."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run found: a rate (the more the better) or a time; `unit` says which.

    `baseline` is what another way of doing the same reached beside it, in the same unit, and `ratio` our
    speed to its. `p50`, `p95` and `p99` are in `unit` too. `conditions` say what was measured and how: a
    figure without them is worth nothing.
    """

    value: float
    unit: str
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    peak_mib: int | None = None
    baseline: float | None = None
    ratio: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def facts(self) -> dict[str, Any]:
        """Return what applies, under the names that `bench --json` promises."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Something to measure: at `size`, counted in `counted`, a run takes about a minute on two cores."""

    name: str
    about: Text
    size: int
    counted: str
    run: Callable[[int, Stage], Awaitable[Measurement]]


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Return `p50`, `p95` and `p99`, each a time that was measured."""
    found = np.percentile(times, (50, 95, 99), method="higher")
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99"), found, strict=True)}
