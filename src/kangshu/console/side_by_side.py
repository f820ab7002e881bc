"""Two persons side by side: what each tells, where they differ, and each comparison's weight as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from kangshu.console.errors import say
from kangshu.console.openings import sex_title
from kangshu.console.visits import Visit
from kangshu.identity import Account, Explanation, IdentifierKind, LinkageModel, Side

_WIDTH = 100.0
"""Of each half of the picture: evidence against on the left, for on the right."""
_LENGTH_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a value, and whether the other person's is different there."""

    text: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the picture: from where, how wide, and the bits."""

    x: float
    width: float
    weight: float

    @property
    def tone(self) -> str:
        """For, against or nothing."""
        return "for" if self.weight > 0 else "against" if self.weight < 0 else "none"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison: the values of both, what was found, and what it weighs."""

    title: str
    one: tuple[Piece, ...]
    other: tuple[Piece, ...]
    level: str
    bar: Bar


@dataclass(frozen=True, kw_only=True)
class Total:
    """The sum, with the weights from which on pairs are reviewed and linked."""

    weight: float
    prior: float
    probability: str
    bar: Bar
    prior_bar: Bar
    review_at: float
    link_at: float
    review_x: float
    link_x: float
    verdict: str
    tone: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two persons side by side."""

    persons: tuple[int, int]
    comparisons: tuple[Comparison, ...]
    total: Total
    guards: tuple[str, ...]
    stored: tuple[tuple[str, float, str, str], ...]
    """What was weighed before: when (ISO), bits, verdict, model."""
    same: bool
    apart: bool


@dataclass(frozen=True, kw_only=True)
class IdentifierRow:
    """One identifier of a person."""

    key: str
    kind: str
    issuer: str
    value: str
    disputed: bool
    seen: str


def present(visit: Visit, found: Explanation) -> Pair:
    """Return the two as the page shows them."""
    account = found.account
    scale = _scale(account, found.model)
    return Pair(
        persons=(found.one.person.id, found.other.person.id),
        comparisons=tuple(
            Comparison(
                title=_word(visit, "compare", part.comparison),
                **_values(visit, part.comparison, found),
                level=_word(visit, "level", part.level),
                bar=_bar(part.weight, scale),
            )
            for part in account.parts
            if part.comparison not in _RARE or part.level != _UNKNOWN
        ),
        total=_total(visit, account, found.model, scale),
        guards=tuple(_word(visit, "guard", guard) for guard in account.guards),
        stored=tuple(
            (
                one.at.astimezone(visit.services.zone).isoformat(sep=" ", timespec="minutes"),
                one.account.weight,
                visit.say(f"review.verdict_{one.account.verdict}"),
                one.account.model[:12],
            )
            for one in found.stored[:20]
        ),
        same=found.same,
        apart=found.apart,
    )


def parts_of(visit: Visit, account: Account, model: LinkageModel) -> tuple[list[tuple[str, str, Bar]], Total]:
    """Return an account alone as a picture: title, level and bar of each comparison, and the total."""
    scale = _scale(account, model)
    rows = [
        (_word(visit, "compare", one.comparison), _word(visit, "level", one.level), _bar(one.weight, scale))
        for one in account.parts
    ]
    return rows, _total(visit, account, model, scale)


def identifier_rows(visit: Visit, side: Side, called: Mapping[str, str]) -> list[IdentifierRow]:
    """Return what a person is known by, with institutions by their names."""
    return [
        IdentifierRow(
            key=one.key,
            kind=visit.say(f"identifier.{one.kind.name.lower()}"),
            issuer=called.get(one.issuer or "", one.issuer or ""),
            value=(one.value or visit.say("review.by_name_and_birth"))[:_LENGTH_MOST],
            disputed=one.disputed,
            seen=one.seen_at.astimezone(visit.services.zone).date().isoformat(),
        )
        for one in side.identifiers
    ]


def whole(text: str | None) -> int | None:
    """Return the number that the text is, if the database can hold it."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _scale(account: Account, model: LinkageModel) -> float:
    """Return how many bits fill one half of the picture."""
    weights = [one.weight for one in account.parts]
    return max(1.0, abs(account.prior), abs(account.weight), model.link_at, *map(abs, weights))


def _bar(weight: float, scale: float) -> Bar:
    width = round(_WIDTH * min(1.0, abs(weight) / scale), 2)
    return Bar(x=_WIDTH if weight >= 0 else round(_WIDTH - width, 2), width=width, weight=weight)


def _total(visit: Visit, account: Account, model: LinkageModel, scale: float) -> Total:
    tones = {"link": "ok", "possible": "warn", "different": "bad"}
    return Total(
        weight=account.weight,
        prior=account.prior,
        probability=_probability(account.weight),
        bar=_bar(account.weight, scale),
        prior_bar=_bar(account.prior, scale),
        review_at=model.review_at,
        link_at=model.link_at,
        review_x=round(_WIDTH + _WIDTH * min(1.0, model.review_at / scale), 2),
        link_x=round(_WIDTH + _WIDTH * min(1.0, model.link_at / scale), 2),
        verdict=visit.say(f"review.verdict_{account.verdict}"),
        tone=tones[account.verdict],
        model=account.model[:12],
    )


def _probability(weight: float) -> str:
    """Return the weight as a probability with as many nines as it has.

    >>> _probability(0), _probability(20), _probability(-20)
    ('50.0%', '99.99990%', '0.00010%')
    """
    against = 1 / (1 + 2 ** max(-60.0, min(60.0, weight)))
    if against < 0.5:
        places = next((count for count in range(1, 9) if against * 100 >= 10**-count), 8)
        return f"{100 - against * 100:.{places}f}%" if places < 8 else ">99.9999999%"
    places = next((count for count in range(1, 9) if (1 - against) * 100 >= 10**-count), 8)
    return f"{(1 - against) * 100:.{places}f}%" if places < 8 else "<0.00000001%"


def _word(visit: Visit, family: str, name: str) -> str:
    """Return what a comparison, level or guard is called; one that a pack adds keeps its own name."""
    key = f"review.{family}_{name}"
    return visit.say(key) if key in say else name


def _values(visit: Visit, comparison: str, found: Explanation) -> dict[str, tuple[Piece, ...]]:
    read = _FACTS.get(comparison)
    if read is None:
        return {"one": (), "other": ()}
    one, other = (read(visit, side)[:_LENGTH_MOST] for side in (found.one, found.other))
    return {"one": _pieces(one, other), "other": _pieces(other, one)}


def _pieces(text: str, beside: str) -> tuple[Piece, ...]:
    """Return the text in pieces that are, or are not, in the one beside it."""
    if not text or not beside or text == beside:
        return (Piece(text=text, differs=False),) if text else ()
    blocks = SequenceMatcher(None, text, beside, autojunk=False).get_opcodes()
    return tuple(
        Piece(text=text[start:end], differs=kind != "equal")
        for kind, start, end, _, _ in blocks
        if end > start
    )


def _first(side: Side, kind: IdentifierKind) -> str:
    return "、".join(dict.fromkeys(one.value for one in side.identifiers if one.kind is kind and one.value))


def _born(visit: Visit, side: Side) -> str:
    return side.person.birth_date.isoformat() if side.person.birth_date else ""


_FACTS: Mapping[str, Callable[[Visit, Side], str]] = {
    "number": lambda _, side: _first(side, IdentifierKind.RESIDENT_NUMBER),
    "lent_number": lambda _, side: _first(side, IdentifierKind.RESIDENT_NUMBER),
    "document": lambda _, side: _first(side, IdentifierKind.DOCUMENT),
    "local": lambda _, side: _first(side, IdentifierKind.LOCAL_NUMBER),
    "institution": lambda _, side: _first(side, IdentifierKind.LOCAL_NUMBER),
    "name": lambda _, side: side.person.name or "",
    "mother": lambda _, side: side.person.name or "",
    "birth": _born,
    "sex": lambda visit, side: sex_title(visit, side.person.sex) if side.person.sex else "",
    "phone": lambda _, side: side.person.phone or "",
}
"""Which fact of a person a comparison is about."""
_UNKNOWN = "unknown"  # what scoring calls a comparison that says nothing
_RARE = frozenset({"mother", "lent_number"})
"""Comparisons of few people: left out where they say nothing."""
