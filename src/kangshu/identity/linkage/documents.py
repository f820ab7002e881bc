"""A model as a text and back: JSON with every weight in it, and a digest that tells when it was changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from math import isfinite
from typing import Any as Anything

import orjson

from kangshu.identity.linkage.conditions import Condition
from kangshu.identity.linkage.errors import ModelUnreadableError
from kangshu.identity.linkage.model import (
    BlockingKey,
    Cap,
    Comparison,
    Guard,
    Level,
    LinkageModel,
    Verdict,
)
from kangshu.identity.linkage.scoring import columns_of, term_columns
from kangshu.kernel.texts import load_catalogue
from kangshu.security.sm3 import sm3

say = load_catalogue("kangshu.identity.linkage")

_FORMAT = 1
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")  # it becomes a name in SQL
_DEEPEST = 20
_LONGEST = 64 * 1024 * 1024
_MOST_PARTS = 500


def versioned(model: LinkageModel) -> LinkageModel:
    """Return the model with the version that belongs to it."""
    return replace(model, version=_version(_document(model)))


def dump_model(model: LinkageModel) -> bytes:
    """Return the model as JSON, its version computed anew; the same model always gives the same bytes."""
    document = _document(model)
    return orjson.dumps({"version": _version(document), **document}, option=orjson.OPT_SORT_KEYS)


def load_model(data: bytes) -> LinkageModel:
    """Return the model of a text made by `dump_model`.

    Raises:
        ModelUnreadableError: it is no such text, a part of it makes no sense, or the version is another's.
    """
    if len(data) > _LONGEST:
        raise ModelUnreadableError(say("model_too_long"))
    try:
        document = orjson.loads(data)
        told = document.pop("version")
        if document.get("format") != _FORMAT or told != _version(document):
            raise ModelUnreadableError(say("model_changed"))
        model = _model(document, told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelUnreadableError(say("model_unreadable")) from None
    _check(model)
    return model


def write_condition(condition: Condition) -> dict[str, Anything]:
    """Return the condition as it stands in a declaration: `{"is": "edits", "column": ..., "most": 1}`."""
    told: dict[str, Anything] = {"is": type(condition).__name__.lower()}
    for one in fields(condition):  # type: ignore[arg-type]
        value = getattr(condition, one.name)
        if value is not None:
            told[one.name] = _written(value)
    return told


def _written(value: object) -> Anything:
    if isinstance(value, Condition):
        return write_condition(value)
    return [_written(part) for part in value] if isinstance(value, tuple) else value


def read_condition(told: Mapping[str, Anything], *, depth: int = 0) -> Condition:
    """Return the condition of a declaration.

    Raises:
        ModelUnreadableError: there is no such condition, or it is told wrongly.
    """
    word = _words().get(str(told.get("is"))) if isinstance(told, Mapping) else None
    if word is None or depth > _DEEPEST:
        raise ModelUnreadableError(say("model_condition"))
    try:
        condition = word(**{name: _read(value, depth) for name, value in told.items() if name != "is"})
    except TypeError:
        raise ModelUnreadableError(say("model_condition")) from None
    for one in fields(condition):  # type: ignore[arg-type]
        _check_value(one.name, getattr(condition, one.name))
    return condition


def _read(value: Anything, depth: int) -> Anything:
    if isinstance(value, dict):
        return read_condition(value, depth=depth + 1)
    if isinstance(value, list):
        return tuple(_read(part, depth) for part in value[:_MOST_PARTS])
    return value


def _words() -> dict[str, type[Condition]]:
    return {word.__name__.lower(): word for word in Condition.__subclasses__()}


def _check_value(name: str, value: object) -> None:
    """Refuse what would not stand as it is in SQL: a field is a column, a number, a text or conditions."""
    parts = value if isinstance(value, tuple) else (value,)
    sound = all(
        part is None
        or isinstance(part, (Condition, bool))
        or (isinstance(part, (int, float)) and isfinite(part))
        or (isinstance(part, str) and (name == "value" or _COLUMN.fullmatch(part) is not None))
        for part in parts
    )
    if not sound or (name == "of" and not all(isinstance(part, Condition) for part in parts)):
        raise ModelUnreadableError(say("model_condition"))


def _document(model: LinkageModel) -> dict[str, Anything]:
    return {
        "format": _FORMAT,
        "name": model.name,
        "prior": model.prior,
        "link_at": model.link_at,
        "review_at": model.review_at,
        "margin": model.margin,
        "comparisons": [_comparison_document(one) for one in model.comparisons],
        "keys": [{"name": one.name, "columns": list(one.columns)} for one in model.keys],
        "caps": [{"comparisons": list(one.comparisons), "most": one.most} for one in model.caps],
        "guards": [
            {"name": one.name, "condition": write_condition(one.condition), "verdict": one.verdict.value}
            for one in model.guards
        ],
        "terms": {column: dict(values) for column, values in model.terms.items()},
        "rare": dict(model.rare),
    }


def _comparison_document(comparison: Comparison) -> dict[str, Anything]:
    return {
        "name": comparison.name,
        "known": write_condition(comparison.known),
        "levels": [_level_document(one) for one in comparison.levels],
        "otherwise": _level_document(comparison.otherwise),
    }


def _level_document(level: Level) -> dict[str, Anything]:
    told = {"name": level.name, "condition": write_condition(level.condition), "m": level.m, "u": level.u}
    if level.term is not None:
        told["term"] = level.term
    if level.fixed:
        told["fixed"] = True
    return told


def _version(document: dict[str, Anything]) -> str:
    return sm3(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hex()


def _model(told: dict[str, Anything], version: str) -> LinkageModel:
    return LinkageModel(
        name=str(told["name"]),
        version=version,
        comparisons=tuple(_comparison(one) for one in told["comparisons"][:_MOST_PARTS]),
        keys=tuple(
            BlockingKey(name=str(one["name"]), columns=tuple(map(str, one["columns"])))
            for one in told["keys"][:_MOST_PARTS]
        ),
        prior=float(told["prior"]),
        link_at=float(told["link_at"]),
        review_at=float(told["review_at"]),
        margin=float(told["margin"]),
        caps=tuple(
            Cap(comparisons=tuple(map(str, one["comparisons"])), most=float(one["most"]))
            for one in told["caps"]
        ),
        guards=tuple(
            Guard(
                name=str(one["name"]),
                condition=read_condition(one["condition"]),
                verdict=Verdict(one["verdict"]),
            )
            for one in told["guards"][:_MOST_PARTS]
        ),
        terms={
            str(column): {str(value): float(share) for value, share in values.items()}
            for column, values in told["terms"].items()
        },
        rare={str(column): float(share) for column, share in told["rare"].items()},
    )


def _comparison(told: dict[str, Anything]) -> Comparison:
    return Comparison(
        name=str(told["name"]),
        known=read_condition(told["known"]),
        levels=tuple(_level(one) for one in told["levels"]),
        otherwise=_level(told["otherwise"]),
    )


def _level(told: dict[str, Anything]) -> Level:
    term = told.get("term")
    return Level(
        name=str(told["name"]),
        condition=read_condition(told["condition"]),
        m=float(told["m"]),
        u=float(told["u"]),
        term=None if term is None else str(term),
        fixed=bool(told.get("fixed", False)),
    )


def _check(model: LinkageModel) -> None:
    """Refuse a model that could not be asked of every pair."""
    levels = [one for comparison in model.comparisons for one in (*comparison.levels, comparison.otherwise)]
    shares = [share for one in levels for share in (one.m, one.u)]
    shares += [share for values in model.terms.values() for share in values.values()]
    shares += model.rare.values()
    bounds = [model.prior, model.link_at, model.review_at, model.margin, *(cap.most for cap in model.caps)]
    names = [comparison.name for comparison in model.comparisons]
    capped = [name for cap in model.caps for name in cap.comparisons]
    columns = (*columns_of(model), *model.terms)
    sound = (
        all(0 < share <= 1 for share in shares)
        and all(isfinite(bound) for bound in bounds)
        and model.review_at <= model.link_at
        and len(set(names)) == len(names)
        and len(set(capped)) == len(capped)
        and set(capped) <= set(names)
        and all(_COLUMN.fullmatch(column) for column in columns)
        and all(key.columns for key in model.keys)
        and set(term_columns(model)) <= set(model.rare)
    )
    if not sound:
        raise ModelUnreadableError(say("model_senseless"))
