"""What a region pack declares about quality: looks, measures, expectations, scores, figures, grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kangshu.kernel.texts import Text

_NO_TEXT = Text(zh="", en="")


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look of a rule at other rows (关联查询): which rows of a data set belong to it, what is taken.

    `on` pairs an SQL expression over the rule's own row with one over the row of `dataset`; equal ones belong
    together, and NULL belongs to nobody. `take` names aggregates over the rows that belong together;
    `rows`, their number, is always there and 0 where there are none. In the rule's predicate they are
    `name.rows`, `name.low`. `where` narrows the other rows; in it `here.x` is the rule's own row and a bare
    column is the other one's. Both sides also have `_file`, `_row`, `_person`, `_institution` and `_at`.
    """

    name: str
    dataset: str
    on: tuple[tuple[str, str], ...]
    take: tuple[tuple[str, str], ...] = ()
    where: str = ""
    line: int = 0

    @property
    def looks_back(self) -> bool:
        """Whether the condition names the rule's own row, so that rows must be joined one by one."""
        return "here." in self.where


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of one institution, data set and month (度量), for rules about cells.

    `sql` is an aggregate over the rows of the cell. With `fingerprint` instead, the measure is the share of
    rows whose values of these SQL expressions also stand in a row of the same institution `months_back`
    months before: what is copied looks alike. In a rule's `suspects` the name of such a measure is true for a
    row that is alike to an earlier one. A measure that is a share of something is shown as per cent and says
    of what (`share_of`).
    """

    name: str
    title: Text
    sql: str = ""
    fingerprint: tuple[str, ...] = ()
    months_back: int = 1
    share_of: Text | None = None
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Who should send a data set every month, by when (应报): institutions by type and level.

    `types` are beginnings of WS 218 codes and `levels` codes of hospital_grade; empty means all. Data of a
    month are due `due_days` days after its end; `late_days` days later they are worth nothing more.
    `least_share` is the share of the usual (or last year's, or reported) number of rows under which a month
    counts as incomplete. `statistic` names a field of `institution_month` that tells how many rows there
    should be.
    """

    dataset: str
    types: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    due_days: int = 10
    late_days: int = 30
    least_share: float = 0.8
    statistic: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Band:
    """A band of scores (等级) from `least` points up."""

    name: str
    title: Text
    least: float


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How a regional score is made (评分): weights by dimension and data set, bands.

    `dimensions` and `datasets` map names to weights; a data set that is not named weighs `other_datasets`. A
    row with warnings only counts `warning_weight` of a wrong row.
    """

    dimensions: Mapping[str, float] = field(default_factory=dict[str, float])
    datasets: Mapping[str, float] = field(default_factory=dict[str, float])
    other_datasets: float = 1.0
    warning_weight: float = 0.3
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScoringItem:
    """An item of a scoring sheet (评分项): a row with a finding of its fields or rules loses its points."""

    title: Text
    points: float
    kind: str = ""
    fields: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScoringGroup:
    """A group of items that together cannot lose more than `points`."""

    title: Text
    points: float
    items: tuple[ScoringItem, ...]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """A scoring sheet (评分表) by which each row of a data set gets points, as for the front page."""

    name: str
    title: Text
    dataset: str
    source: str
    groups: tuple[ScoringGroup, ...]
    bands: tuple[Band, ...]
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class QualityIndicator:
    """A share of rows (质控指标): those without a finding of `rules` or of the checks of `fields`.

    `among` is an SQL predicate over accepted rows: the indicator is about those only; empty means all rows
    that arrived. With `scoring` and `band`, rows that reach the band count; with `reconciliation`, the
    indicator is the quotient of that reconciliation's two figures.
    """

    id: str
    title: Text
    dataset: str
    fields: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    among: str = ""
    scoring: str = ""
    band: str = ""
    reconciliation: str = ""
    note: Text = _NO_TEXT
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class EmrItem:
    """An item of the EMR data-quality index (电子病历数据质量): predicates over a data set's accepted rows.

    An aspect that is empty is not asked for. `linkage` names rules: rows without their findings. Source:
    国卫办医函〔2018〕1079号.
    """

    id: str
    title: Text
    dataset: str
    consistency: str = ""
    required: str = ""
    expected: str = ""
    linkage: tuple[str, ...] = ()
    timeliness: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class ReconciliationSide:
    """One of two figures (对账一方): an aggregate over rows of a data set, by institution and month.

    `month` is an SQL expression that gives a day of the month the row counts for. `key` are expressions by
    which rows of both sides are matched for the drill-down; without them the rows of either side are just
    listed.
    """

    dataset: str
    title: Text
    value: str
    month: str = "_at"
    where: str = ""
    key: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """Two figures that should agree (对账), within a relative or an absolute tolerance: the wider of both."""

    id: str
    title: Text
    left: ReconciliationSide
    right: ReconciliationSide
    relative: float = 0.0
    absolute: float = 0.0
    message: Text = _NO_TEXT
    source: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A grade of warnings (预警等级), the most serious first.

    It applies where an institution's data set of a month scores below `score_below`, or a single finding
    concerns `share_at_least` of the rows, or the month has not arrived `missing_days` days after it was due.
    The institution has `days` days; `escalate_days` days after the deadline the next higher body is told.
    """

    name: str
    title: Text
    score_below: float | None = None
    share_at_least: float | None = None
    missing_days: int | None = None
    days: int = 10
    escalate_days: int = 5


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """All that the folder `quality/` of a pack declares."""

    score: ScoreSettings = field(default_factory=ScoreSettings)
    expectations: tuple[Expectation, ...] = ()
    scorings: tuple[Scoring, ...] = ()
    indicators: tuple[QualityIndicator, ...] = ()
    emr_items: tuple[EmrItem, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()
    grades: tuple[Grade, ...] = ()


class CellView(StrEnum):
    """Whose figures a rule about a cell may name: `now.rows >= 0.5 * usual.rows`.

    `usual` and `spread` are the median of the six months before (three at least) and the median absolute
    deviation from it; `peers` and `peers_spread` the same over institutions of the same type and level in the
    same month (five at least). What is not known is NULL, and a rule that is NULL holds.
    """

    NOW = "now"
    BEFORE = "before"
    LAST_YEAR = "last_year"
    USUAL = "usual"
    SPREAD = "spread"
    PEERS = "peers"
    PEERS_SPREAD = "peers_spread"
