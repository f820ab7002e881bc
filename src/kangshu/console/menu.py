"""The menu: what each role may open, with the letter that opens it from the keyboard."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kangshu.security.principals import Permission, Principal


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the menu."""

    href: str
    title: str
    icon: str
    key: str
    may: Permission | None = None
    current: bool = False
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """Entries that belong together, under a heading."""

    title: str
    entries: tuple[Entry, ...]


_GROUPS = (
    Group(
        title="nav.region",
        entries=(
            Entry(
                href="/console/", title="nav.overview", icon="overview", key="o", may=Permission.SEE_OVERVIEW
            ),
            Entry(
                href="/console/receipts",
                title="nav.receipts",
                icon="receipts",
                key="r",
                may=Permission.SEE_RECEIPTS,
            ),
            Entry(
                href="/console/messages",
                title="nav.messages",
                icon="messages",
                key="x",
                may=Permission.SEE_MESSAGES,
            ),
            Entry(
                href="/console/upload", title="nav.upload", icon="upload", key="u", may=Permission.SUBMIT_DATA
            ),
            Entry(
                href="/console/institutions",
                title="nav.institutions",
                icon="institutions",
                key="i",
                may=Permission.SEE_DIRECTORY,
            ),
        ),
    ),
    Group(
        title="nav.quality",
        entries=(
            Entry(
                href="/console/quality",
                title="nav.rankings",
                icon="ranking",
                key="q",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/institution",
                title="nav.fix_list",
                icon="mend",
                key="f",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/tasks",
                title="nav.tasks",
                icon="tasks",
                key="t",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/coverage",
                title="nav.coverage",
                icon="coverage",
                key="g",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/reconciliations",
                title="nav.reconciliations",
                icon="balance",
                key="b",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/circulars",
                title="nav.circulars",
                icon="circular",
                key="l",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/rules",
                title="nav.rules",
                icon="rules",
                key="n",
                may=Permission.SEE_QUALITY,
            ),
            Entry(
                href="/console/quality/check",
                title="nav.self_test",
                icon="check",
                key="k",
                may=Permission.SUBMIT_DATA,
            ),
        ),
    ),
    Group(
        title="nav.people",
        entries=(
            Entry(
                href="/console/persons",
                title="nav.persons",
                icon="persons",
                key="p",
                may=Permission.FIND_PERSONS,
            ),
            Entry(
                href="/console/reviews",
                title="nav.reviews",
                icon="reviews",
                key="v",
                may=Permission.REVIEW_PERSONS,
            ),
        ),
    ),
    Group(
        title="nav.health_cards",
        entries=(
            Entry(href="/console/cards", title="nav.cards", icon="card", key="h", may=Permission.SEE_CARDS),
            Entry(
                href="/console/cards/window",
                title="nav.card_window",
                icon="account",
                key="w",
                may=Permission.MANAGE_CARDS,
            ),
            Entry(
                href="/console/cards/check",
                title="nav.card_check",
                icon="keys",
                key="j",
                may=Permission.USE_CARDS,
            ),
        ),
    ),
    Group(
        title="nav.standards",
        entries=(
            Entry(
                href="/console/datasets",
                title="nav.datasets",
                icon="datasets",
                key="d",
                may=Permission.SEE_DECLARATIONS,
            ),
            Entry(
                href="/console/catalogue",
                title="nav.catalogue",
                icon="catalogue",
                key="e",
                may=Permission.SEE_DECLARATIONS,
            ),
            Entry(
                href="/console/codes",
                title="nav.codes",
                icon="codes",
                key="c",
                may=Permission.SEE_DECLARATIONS,
            ),
        ),
    ),
    Group(
        title="nav.control",
        entries=(
            Entry(href="/console/audit", title="nav.audit", icon="audit", key="a", may=Permission.SEE_AUDIT),
            Entry(href="/console/account", title="nav.account", icon="account", key="m"),
        ),
    ),
)


def menu_for(principal: Principal | None, *, path: str) -> tuple[Group, ...]:
    """Return the groups and entries that `principal` may open; the one that holds `path` is marked."""
    if principal is None:
        return ()
    entries = (entry for group in _GROUPS for entry in group.entries)
    holder = max((entry.href for entry in entries if _holds(entry, path)), key=len, default="")
    groups = (
        Group(
            title=group.title,
            entries=tuple(
                _marked(entry, path=path, holder=holder)
                for entry in group.entries
                if entry.may is None or principal.may(entry.may)
            ),
        )
        for group in _GROUPS
    )
    return tuple(group for group in groups if group.entries)


def _holds(entry: Entry, path: str) -> bool:
    """Tell whether the page at `path` lies under the entry; of several the longest address is the nearest."""
    inside = path.startswith(entry.href.rstrip("/") + "/") and not entry.href.endswith("/")
    return path == entry.href or inside


def _marked(entry: Entry, *, path: str, holder: str) -> Entry:
    return replace(entry, current=entry.href == holder, exact=path == entry.href)
