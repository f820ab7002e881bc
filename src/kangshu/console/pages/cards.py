"""The figures of health cards: cards, uses by scene, institution and day, coverage, refused scans."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from starlette.responses import Response

from kangshu.console.acts import CARDS_EXPORT, note
from kangshu.console.charts import BarRow, Day, bar_rows, day_columns, heat
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer
from kangshu.console.formats import number, percent, weekday
from kangshu.console.paging import numbered_page
from kangshu.console.reach import names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.healthcard import CardSettings, Figures, Status, figures
from kangshu.kernel.texts import Text
from kangshu.security.principals import Permission

_PERIODS = (7, 30, 90, 365)
_USUAL_DAYS = 30
_PER_PAGE = 50


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure at the top of the page."""

    title: str
    value: str
    note: str
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class DayRow:
    """What one day brought."""

    day: date
    issued: int
    uses: int
    off_card: int


@dataclass(frozen=True, kw_only=True)
class SceneRow:
    """Uses in one scene."""

    title: str
    uses: int
    off_card: int
    bar: BarRow


@dataclass(frozen=True, kw_only=True)
class RefusalRow:
    """Scans refused for one reason."""

    title: str
    count: int
    bar: BarRow


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Uses of one institution in one scene, and how dark the cell is."""

    count: int
    heat: int


@dataclass(frozen=True, kw_only=True)
class InstitutionRow:
    """What one institution does with cards."""

    code: str
    name: str
    cells: tuple[Cell, ...]
    covered: int
    uses: int
    off_card: int
    scans: int
    refused: int


async def show_cards(visit: Visit) -> Response:
    """Show the figures of a period within the visitor's reach."""
    days = _days(visit)
    settings = await _settings(visit)
    found, institution_names = await _figures(visit, settings, days)
    scenes = _scenes(settings)
    rows = _institution_rows(found, institution_names, tuple(scenes))
    listed = numbered_page(
        rows, path="/console/cards", query={"days": str(days)}, asked=visit.query.get("page"), size=_PER_PAGE
    )
    refused = sum(found.refused_scans.values())
    day_rows = _day_rows(visit, found)
    return visit.page(
        "cards.html",
        scope_text=visit.say("cards.scope_region" if visit.staff.region_wide else "cards.scope_own"),
        first=day_rows[0].day,
        last=day_rows[-1].day,
        days=str(days),
        period_choices=[(str(one), visit.say("cards.days", days=one)) for one in _PERIODS],
        figures=found,
        tiles=_tiles(visit, found, refused),
        chart=day_columns([_column(visit, row) for row in day_rows]),
        chart_summary=visit.say(
            "cards.chart_summary",
            uses=number(found.use_count),
            off_card=number(sum(use.off_card for use in found.uses)),
        ),
        day_rows=day_rows,
        scene_rows=_scene_rows(visit, found, scenes),
        refusal_rows=_refusal_rows(visit, found),
        refused=refused,
        scene_titles=[visit.own(title) for title in scenes.values()],
        institution_rows=listed.items,
        newer=listed.newer,
        older=listed.older,
        page_note=visit.say("cards.page", first=listed.first, last=listed.last, total=listed.total),
    )


async def export_cards(visit: Visit) -> Response:
    """Send uses by day, institution and scene as CSV."""
    settings = await _settings(visit)
    found, institution_names = await _figures(visit, settings, _days(visit))
    scenes = _scenes(settings)
    async with visit.services.database.transaction() as connection:
        await note(connection, visit, CARDS_EXPORT, resource="cards", detail={"rows": len(found.uses)})
    head = ("chart.day", "cards.code", "place.institution", "cards.scene", "cards.uses", "cards.off_card")
    rows: list[Sequence[object]] = [[visit.say(key) for key in head]]
    rows += [
        [
            use.day.isoformat(),
            use.institution,
            institution_names.get(use.institution, ""),
            visit.own(scenes[use.scene]) if use.scene in scenes else use.scene,
            use.uses,
            use.off_card,
        ]
        for use in found.uses
    ]
    return csv_answer("health-card-uses.csv", rows)


async def _settings(visit: Visit) -> CardSettings:
    if visit.services.card_office is None:
        raise PageNotFoundError
    return (await visit.services.card_office()).settings


def _scenes(settings: CardSettings) -> dict[str, Text]:
    return {key: scene.title for key, scene in settings.scenes.items()}


async def _figures(visit: Visit, settings: CardSettings, days: int) -> tuple[Figures, dict[str, str]]:
    zone = visit.services.zone
    today = visit.now.astimezone(zone).date()
    since = datetime.combine(today - timedelta(days=days - 1), time(), tzinfo=zone)
    until = datetime.combine(today + timedelta(days=1), time(), tzinfo=zone)
    async with visit.services.database.connection() as connection:
        found = await figures(
            connection,
            settings=settings,
            since=since,
            until=until,
            institutions=await own_codes(visit, connection),
        )
        codes = {use.institution for use in found.uses} | set(found.scans_by_institution)
        return found, await names(connection, codes)


def _days(visit: Visit) -> int:
    asked = visit.query.get("days", "")
    return int(asked) if asked in {str(one) for one in _PERIODS} else _USUAL_DAYS


def _tiles(visit: Visit, found: Figures, refused: int) -> list[Tile]:
    def tile(key: str, value: str, unit: str = "", **values: object) -> Tile:
        return Tile(
            title=visit.say(f"cards.tile_{key}"),
            value=value,
            unit=visit.say(unit) if unit else "",
            note=visit.say(f"cards.tile_{key}_note", **values),
        )

    off_card = sum(use.off_card for use in found.uses)
    normal = found.by_status.get(Status.NORMAL, 0)
    return [
        tile("cards", number(found.cards), "cards.unit_cards", normal=number(normal)),
        tile("issued", number(found.issued), "cards.unit_cards"),
        tile("uses", number(found.use_count), "cards.unit_times"),
        tile("off_card", _rate(found.off_card_rate), off_card=number(off_card), uses=number(found.use_count)),
        tile("fusion", _rate(found.fusion_rate), fused=number(found.fused_cards)),
        tile("claim", _rate(found.claim_rate)),
        tile("scans", number(found.scans), "cards.unit_times", share=percent(refused, found.scans)),
        tile("family", number(found.family_members), "cards.unit_cards"),
    ]


def _rate(value: float | None) -> str:
    return "—" if value is None else percent(value, 1.0)


def _day_rows(visit: Visit, found: Figures) -> list[DayRow]:
    """Return every day of the period: on a day without uses there is a zero, not a hole."""
    zone = visit.services.zone
    first = found.since.astimezone(zone).date()
    count = (found.until - found.since).days
    uses: Counter[date] = Counter()
    off_card: Counter[date] = Counter()
    for use in found.uses:
        uses[use.day] += use.uses
        off_card[use.day] += use.off_card
    issued = dict(found.issued_by_day)
    days = [first + timedelta(days=step) for step in range(max(1, count))]
    return [
        DayRow(day=day, issued=issued.get(day, 0), uses=uses[day] - off_card[day], off_card=off_card[day])
        for day in days
    ]


def _column(visit: Visit, row: DayRow) -> Day:
    label = f"{row.day.month}/{row.day.day}" if visit.language == "zh" else f"{row.day:%-d %b}"
    title = visit.say(
        "cards.day_title",
        day=f"{row.day.isoformat()} {weekday(row.day, language=visit.language)}",
        uses=number(row.uses),
        off_card=number(row.off_card),
    )
    return Day(label=label, title=title, accepted=row.uses, rejected=row.off_card, href="")


def _scene_rows(visit: Visit, found: Figures, scenes: Mapping[str, Text]) -> list[SceneRow]:
    uses: Counter[str] = Counter()
    off_card: Counter[str] = Counter()
    for use in found.uses:
        uses[use.scene] += use.uses
        off_card[use.scene] += use.off_card
    shown = [*scenes, *(scene for scene in sorted(uses) if scene not in scenes)]
    bars = bar_rows([(uses[scene] - off_card[scene], off_card[scene]) for scene in shown])
    return [
        SceneRow(
            title=visit.own(scenes[scene]) if scene in scenes else scene,
            uses=uses[scene],
            off_card=off_card[scene],
            bar=bar,
        )
        for scene, bar in zip(shown, bars, strict=True)
    ]


def _refusal_rows(visit: Visit, found: Figures) -> list[RefusalRow]:
    ordered = sorted(found.refused_scans.items(), key=lambda pair: (-pair[1], pair[0]))
    bars = bar_rows([(0, count) for _, count in ordered])
    return [
        RefusalRow(title=visit.say(f"cards.refusal_{reason.replace('-', '_')}"), count=count, bar=bar)
        for (reason, count), bar in zip(ordered, bars, strict=True)
        if count
    ]


def _institution_rows(
    found: Figures, institution_names: Mapping[str, str], scenes: Sequence[str]
) -> list[InstitutionRow]:
    uses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    off_card: Counter[str] = Counter()
    for use in found.uses:
        uses[use.institution][use.scene] += use.uses
        off_card[use.institution] += use.off_card
    highest = max((count for counter in uses.values() for count in counter.values()), default=0)
    rows = [
        InstitutionRow(
            code=code,
            name=institution_names.get(code, code),
            cells=tuple(
                Cell(count=uses[code][scene], heat=heat(uses[code][scene], highest)) for scene in scenes
            ),
            covered=sum(uses[code][scene] > 0 for scene in scenes),
            uses=sum(uses[code].values()),
            off_card=off_card[code],
            scans=found.scans_by_institution.get(code, (0, 0))[0],
            refused=found.scans_by_institution.get(code, (0, 0))[1],
        )
        for code in {*uses, *found.scans_by_institution}
    ]
    return sorted(rows, key=lambda row: (-row.covered, -row.uses, row.code))


routes = [
    page("/cards", show_cards, may=Permission.SEE_CARDS),
    page("/cards/export", export_cards, may=Permission.SEE_CARDS),
]
