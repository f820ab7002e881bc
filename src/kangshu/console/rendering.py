"""Makes pages from templates, one environment per language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from functools import partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kangshu.console import formats
from kangshu.kernel.texts import Language, Text, load_catalogue

say = load_catalogue(__package__ or __name__)

STATIC_PATH = "/console/static"


class Renderer:
    """Turns a template and its values into the text of a page."""

    def __init__(self, *, zone: tzinfo, region: Text) -> None:
        self._environments: Mapping[Language, Environment] = {
            "zh": _environment("zh", zone=zone, region=region),
            "en": _environment("en", zone=zone, region=region),
        }

    def render(self, template: str, *, language: Language, **values: Any) -> str:
        """Return the finished page. A value that the template names and nobody gave is an error."""
        return self._environments[language].get_template(template).render(**values)


def _environment(language: Language, *, zone: tzinfo, region: Text) -> Environment:
    environment = Environment(
        loader=PackageLoader("kangshu.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )

    def translate(key: str, **values: object) -> str:
        entry = say[key].in_(language)
        return entry.format(**values) if values else entry

    environment.globals.update(
        t=translate, language=language, region=region.in_(language), asset=asset_path, flash=None
    )
    environment.filters.update(
        number=formats.number,
        compact=partial(formats.compact, language=language),
        percent=formats.percent,
        share=formats.share,
        file_size=formats.file_size,
        moment=partial(_moment, zone=zone),
        weekday=partial(formats.weekday, language=language),
        iso=_iso,
        own=lambda text: text.in_(language),
        period=_period,
        mask_name=formats.mask_name,
        mask_number=formats.mask_number,
        mask_phone=formats.mask_phone,
    )
    return environment


def _moment(value: datetime | date, form: str = "minute", *, zone: tzinfo) -> str:
    return formats.moment(value, form, zone=zone)


def _period(label: str) -> str:
    return label.replace("..", " – ")


def _iso(value: datetime | date) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value.isoformat()


def asset_path(name: str) -> str:
    """Return the address of a static file with a mark of its content, so that browsers may keep it."""
    return f"{STATIC_PATH}/{name}?v={_ASSET_MARKS[name]}"


def _asset_marks() -> Mapping[str, str]:
    folder = resources.files("kangshu.console").joinpath("static")
    return {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()[:12]
        for entry in folder.iterdir()
        if entry.is_file()
    }


_ASSET_MARKS = _asset_marks()
