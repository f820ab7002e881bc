"""The region's rules for cards and codes, read from the declaration `healthcard.toml` and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from kangshu.healthcard.errors import SettingsError
from kangshu.healthcard.model import Way
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.standards.identifiers import division_prefix

FILE_NAME = "healthcard.toml"
_LONGEST = 64  # arbitrary: no key, code or title of a dictionary is longer
_ENTRIES_MOST = 200

say = load_catalogue(__package__ or __name__)


class Reuse(StrEnum):
    """Who may scan a dynamic code again while it lasts."""

    SAME_TERMINAL = "same-terminal"
    NEVER = "never"
    ANY = "any"


class Shown(StrEnum):
    """How one fact is shown."""

    CLEAR = "clear"
    MASKED = "masked"
    YEAR = "year"


_FIELDS: Mapping[str, frozenset[Shown]] = {
    "name": frozenset({Shown.CLEAR, Shown.MASKED}),
    "sex": frozenset({Shown.CLEAR}),
    "birth_date": frozenset({Shown.CLEAR, Shown.YEAR}),
    "nation": frozenset({Shown.CLEAR}),
    "document_type": frozenset({Shown.CLEAR}),
    "document_number": frozenset({Shown.MASKED}),
    "phone": frozenset({Shown.MASKED}),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One step of a visit where a code is scanned; `static` tells whether printed codes are accepted."""

    key: str
    code: str
    title: Text
    static: bool


@dataclass(frozen=True, kw_only=True)
class View:
    """What callers of one role are shown."""

    role: str
    title: Text
    fields: Mapping[str, Shown]


@dataclass(frozen=True, kw_only=True)
class System:
    """Somebody whose codes may be bound to a card."""

    key: str
    title: Text
    issuer: bool
    """Whether the issuer must be told, as numbers of different issuers may be equal."""
    counted: bool
    """Whether its bindings count for the fusion rate."""


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """The declaration, checked; see `packs/base/healthcard.toml` for what each means."""

    region: str
    index_text: str
    temporary_days: int
    minor_below_years: int
    guardian_ways: frozenset[Way]
    family_most: int
    formal_suffix: str
    temporary_suffix: str
    dynamic_seconds: int
    signed_seconds: int
    zone: ZoneInfo
    reuse: Reuse
    scenes: Mapping[str, Scene]
    views: Mapping[str, View]
    systems: Mapping[str, System]
    visit_types: Mapping[str, Text]
    terminals: Mapping[str, Text]
    cost_types: Mapping[str, Text]
    media: Mapping[str, Text]
    on_card: frozenset[str]

    @property
    def guardian_below_years(self) -> int:
        """The age from which nobody needs a guardian."""
        return self.minor_below_years

    @property
    def static_suffix(self) -> str:
        """What follows a formal card's id in its static code."""
        return self.formal_suffix

    def scene_of(self, word: str) -> Scene | None:
        """Return the scene with this key or code."""
        return self.scenes.get(word) or next((one for one in self.scenes.values() if one.code == word), None)


def load_settings(path: Path | None = None) -> CardSettings:
    """Return the settings in the file at `path`, or those of the built-in pack.

    Raises:
        SettingsError: a setting is missing or wrong; `place` names it.
    """
    source = path or resources.files("kangshu.packs").joinpath("base", FILE_NAME)
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise SettingsError(say["settings_unreadable"], place=FILE_NAME) from None
    return _Reader(content).settings()


class _Reader:
    """Takes settings out of the parsed file, each with its check and its place."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def settings(self) -> CardSettings:
        scenes = self._entries("scene", self._scene, key="key")
        media = self._table("media")
        formal, temporary = self._suffix("formal_suffix"), self._suffix("temporary_suffix")
        if formal == temporary:
            raise self._wrong("codes.temporary_suffix", "≠ formal_suffix")
        return CardSettings(
            region=self._region(),
            index_text=self._index_text(),
            temporary_days=self._number("card", "temporary_days", 1, 3650),
            minor_below_years=self._number("card", "minor_below_years", 0, 30),
            guardian_ways=self._ways(),
            family_most=self._number("card", "family_most", 0, 50),
            formal_suffix=formal,
            temporary_suffix=temporary,
            dynamic_seconds=self._number("codes", "dynamic_seconds", 10, 86_400),
            signed_seconds=self._number("codes", "signed_seconds", 10, 7 * 86_400),
            zone=self._zone(),
            reuse=self._reuse(),
            scenes=scenes,
            views=self._entries("view", self._view, key="role"),
            systems=self._entries("system", self._system, key="key"),
            visit_types=self._table("visit_types"),
            terminals=self._table("terminals"),
            cost_types=self._table("cost_types"),
            media=media,
            on_card=self._on_card(media),
        )

    def _get(self, section: str, name: str, kind: type) -> Any:
        value = self._content.get(section, {})
        value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            raise SettingsError(say["settings_missing"], place=f"{FILE_NAME}: {section}.{name}")
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise self._wrong(f"{section}.{name}", kind.__name__)
        return value

    def _wrong(self, place: str, expected: str) -> SettingsError:
        return SettingsError(say("settings_wrong", expected=expected), place=f"{FILE_NAME}: {place}")

    def _number(self, section: str, name: str, least: int, most: int) -> int:
        value = self._get(section, name, int)
        if not least <= value <= most:
            raise self._wrong(f"{section}.{name}", f"{least} – {most}")
        return value

    def _suffix(self, name: str) -> str:
        value = self._get("codes", name, str)
        if len(value) != 1 or not (value.isascii() and value.isalnum()) or value != value.upper():
            raise self._wrong(f"codes.{name}", "0-9 A-Z")
        return value

    def _region(self) -> str:
        value = self._get("card", "region", str)
        try:
            division_prefix(value)
        except ValueError:
            raise self._wrong("card.region", "行政区划代码 / division code") from None
        return value

    def _index_text(self) -> str:
        text = self._get("card", "index_text", str)
        try:
            given = dict(
                document_type="01",
                document_number="#",
                name="@",
                sex="1",
                birth_date=date(2000, 1, 1).isoformat(),
            )
            tried = text.format_map(given)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise self._wrong("card.index_text", "{document_type} {document_number} {name} …") from None
        if "#" not in tried or len(text) > 200:
            raise self._wrong("card.index_text", "{document_number}")
        return text

    def _ways(self) -> frozenset[Way]:
        values = self._get("card", "guardian_ways", list)
        try:
            return frozenset(Way(one) for one in values)
        except ValueError:
            raise self._wrong("card.guardian_ways", "1 2 3 4") from None

    def _zone(self) -> ZoneInfo:
        name = self._get("codes", "zone", str)
        try:
            return ZoneInfo(name)
        except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
            raise self._wrong("codes.zone", "Asia/Shanghai") from None
        except KeyError:
            raise self._wrong("codes.zone", "Asia/Shanghai") from None

    def _reuse(self) -> Reuse:
        try:
            return Reuse(self._get("codes", "reuse", str))
        except ValueError:
            raise self._wrong("codes.reuse", " ".join(Reuse)) from None

    def _on_card(self, media: Mapping[str, Text]) -> frozenset[str]:
        values = self._get("use", "on_card", list)
        if not all(isinstance(one, str) and one in media for one in values):
            raise self._wrong("use.on_card", "media")
        return frozenset(values)

    def _entries(
        self, section: str, make: Callable[[str, Mapping[str, Any]], Any], *, key: str
    ) -> Mapping[str, Any]:
        entries = self._content.get(section)
        if not isinstance(entries, list) or not 0 < len(entries) <= _ENTRIES_MOST:
            raise SettingsError(say["settings_missing"], place=f"{FILE_NAME}: [[{section}]]")
        found: dict[str, Any] = {}
        for number, entry in enumerate(entries, start=1):
            place = f"[[{section}]] {number}"
            if not isinstance(entry, dict):
                raise self._wrong(place, "table")
            one = make(place, entry)
            name = getattr(one, key)
            if name in found:
                raise self._wrong(f"{place}.{key}", "unique")
            found[name] = one
        return MappingProxyType(found)

    def _text(self, place: str, entry: Mapping[str, Any], name: str) -> str:
        value = entry.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
            raise self._wrong(f"{place}.{name}", f"1 – {_LONGEST}")
        return value

    def _flag(self, place: str, entry: Mapping[str, Any], name: str) -> bool:
        value = entry.get(name)
        if not isinstance(value, bool):
            raise self._wrong(f"{place}.{name}", "true / false")
        return value

    def _title(self, place: str, entry: Mapping[str, Any]) -> Text:
        return Text(zh=self._text(place, entry, "title"), en=self._text(place, entry, "title_en"))

    def _scene(self, place: str, entry: Mapping[str, Any]) -> Scene:
        return Scene(
            key=self._text(place, entry, "key"),
            code=self._text(place, entry, "code"),
            title=self._title(place, entry),
            static=self._flag(place, entry, "static"),
        )

    def _system(self, place: str, entry: Mapping[str, Any]) -> System:
        return System(
            key=self._text(place, entry, "key"),
            title=self._title(place, entry),
            issuer=self._flag(place, entry, "issuer"),
            counted=self._flag(place, entry, "counted"),
        )

    def _view(self, place: str, entry: Mapping[str, Any]) -> View:
        fields = entry.get("fields")
        if not isinstance(fields, dict):
            raise self._wrong(f"{place}.fields", "table")
        shown: dict[str, Shown] = {}
        for name, word in fields.items():
            allowed = _FIELDS.get(name, frozenset())
            if word not in {str(one) for one in allowed}:
                raise self._wrong(f"{place}.fields.{name}", " ".join(sorted(allowed)) or "—")
            shown[name] = Shown(word)
        return View(
            role=self._text(place, entry, "role"),
            title=self._title(place, entry),
            fields=MappingProxyType(shown),
        )

    def _table(self, section: str) -> Mapping[str, Text]:
        table = self._content.get(section)
        if not isinstance(table, dict) or not 0 < len(table) <= _ENTRIES_MOST:
            raise SettingsError(say["settings_missing"], place=f"{FILE_NAME}: [{section}]")
        found: dict[str, Text] = {}
        for code, titles in table.items():
            if (
                not isinstance(titles, list)
                or len(titles) != 2
                or not all(isinstance(one, str) and one for one in titles)
            ):
                raise self._wrong(f"{section}.{code}", "[zh, en]")
            found[code] = Text(zh=titles[0], en=titles[1])
        return MappingProxyType(found)
