"""The model that a pack declares: comparisons, guards and keys in TOML, and what was learnt beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any as Anything

import orjson

from kangshu.identity.linkage.conditions import (
    Alike,
    All,
    Any,
    Condition,
    Edits,
    Either,
    Equal,
    Known,
    Near,
    Not,
)
from kangshu.identity.linkage.documents import versioned
from kangshu.identity.linkage.model import (
    BlockingKey,
    Cap,
    Comparison,
    Guard,
    Level,
    LinkageModel,
    Verdict,
)

_NEVER_ASKED = All(of=())


@cache
def default_model() -> LinkageModel:
    """Return the model that ships with the product."""
    folder = resources.files("kangshu.packs").joinpath("base", "linkage")
    declared = read_declaration(folder.joinpath("persons.toml").read_text(encoding="utf-8"))
    weights = folder.joinpath("weights.json")
    if weights.is_file():
        declared = with_weights(declared, orjson.loads(weights.read_bytes()))
    return versioned(declared)


def read_declaration(text: str) -> LinkageModel:
    """Return the model of a declaration, without a version.

    Raises:
        ValueError: a condition or a part makes no sense (`tomllib.TOMLDecodeError` is one too).
        KeyError: something is not told.
    """
    told = tomllib.loads(text)
    comparisons = tuple(_comparison(one) for one in told["comparison"])
    return LinkageModel(
        name=told["name"],
        version="",
        comparisons=comparisons,
        keys=tuple(BlockingKey(name=one["name"], columns=tuple(one["columns"])) for one in told["key"]),
        prior=told["prior"],
        link_at=told["link_at"],
        review_at=told["review_at"],
        margin=told["margin"],
        caps=tuple(
            Cap(comparisons=tuple(one["comparisons"]), most=one["most"]) for one in told.get("cap", ())
        ),
        guards=tuple(
            Guard(name=one["name"], condition=read_words(one["when"]), verdict=Verdict(one["verdict"]))
            for one in told.get("guard", ())
        ),
        rare={level.term: level.u for one in comparisons for level in one.levels if level.term is not None},
    )


def _comparison(told: Mapping[str, Anything]) -> Comparison:
    last = told["otherwise"]
    return Comparison(
        name=told["name"],
        known=read_words(told["known"]),
        levels=tuple(
            Level(
                name=one["name"],
                condition=read_words(one["when"]),
                m=one["m"],
                u=one["u"],
                term=one.get("term"),
                fixed=one.get("fixed", False),
            )
            for one in told["level"]
        ),
        otherwise=Level(
            name="otherwise", condition=_NEVER_ASKED, m=last["m"], u=last["u"], fixed=last.get("fixed", False)
        ),
    )


def read_words(told: str | Sequence[Anything] | Mapping[str, Anything]) -> Condition:
    """Return the condition that the words say; a sequence means all of them, `any` one of them.

    Raises:
        ValueError: there are no such words.
    """
    match told:
        case str():
            return _words(told.split())
        case {"any": parts}:
            return Any(of=tuple(read_words(part) for part in parts))
        case [*parts]:
            return All(of=tuple(read_words(part) for part in parts))
        case _:
            raise ValueError("a condition is words, a list of conditions or { any = [...] }")


def _words(words: list[str]) -> Condition:
    match words:
        case ["not", *rest]:
            return Not(of=_words(rest))
        case ["known", column]:
            return Known(column=column)
        case ["equal", column]:
            return Equal(column=column)
        case ["equal", column, across]:
            return Equal(column=column, across=across)
        case ["differ", column]:
            return All(of=(Known(column=column), Not(of=Equal(column=column))))
        case ["edits", column, most]:
            return Edits(column=column, most=int(most))
        case ["alike", column, least]:
            return Alike(column=column, least=float(least))
        case ["near", column, most]:
            return Near(column=column, most=int(most))
        case ["either", column, value]:
            return Either(column=column, value=value)
        case _:
            raise ValueError(
                "a condition begins with known, equal, differ, edits, alike, near, either or not"
            )


def weights_of(model: LinkageModel) -> dict[str, Anything]:
    """Return what was learnt in the model: the shares of the levels that are not fixed, prior and terms.

    Values are told by their frequency, those of one frequency in a line, for there are many; so a value must
    have no blank in it, and one that has is left out.
    """
    return {
        "prior": model.prior,
        "levels": {
            one.name: {
                level.name: [level.m, level.u] for level in (*one.levels, one.otherwise) if not level.fixed
            }
            for one in model.comparisons
        },
        "rare": dict(model.rare),
        "terms": {column: _by_frequency(values) for column, values in model.terms.items()},
    }


def _by_frequency(values: Mapping[str, float]) -> dict[str, str]:
    groups: dict[float, list[str]] = {}
    for value, share in values.items():
        if value and " " not in value:
            groups.setdefault(float(f"{share:.2g}"), []).append(value)
    return {f"{share:.2g}": " ".join(sorted(groups[share])) for share in sorted(groups, reverse=True)}


def with_weights(model: LinkageModel, learnt: Mapping[str, Anything]) -> LinkageModel:
    """Return the model with what `weights_of` told of another of the same comparisons.

    Raises:
        KeyError: a level that is not fixed was not learnt.
    """
    return replace(
        model,
        prior=learnt["prior"],
        comparisons=tuple(_weighted(one, learnt["levels"][one.name]) for one in model.comparisons),
        rare=dict(learnt["rare"]),
        terms={
            column: {value: float(share) for share, line in groups.items() for value in line.split(" ")}
            for column, groups in learnt["terms"].items()
        },
    )


def _weighted(comparison: Comparison, learnt: Mapping[str, Sequence[float]]) -> Comparison:
    def weighted(level: Level) -> Level:
        if level.fixed:
            return level
        m, u = learnt[level.name]
        return replace(level, m=m, u=u)

    return replace(
        comparison,
        levels=tuple(weighted(level) for level in comparison.levels),
        otherwise=weighted(comparison.otherwise),
    )
