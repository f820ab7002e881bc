"""The few forms that most invariants have: this needs that, one of these, not both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[[Any], bool]
Elements: TypeAlias = Mapping[str, Any]

UCUM = "http://unitsofmeasure.org"


def there(name: str) -> Rule:
    """Whether an element is there, with a value or an extension; `value[x]` stands for all its types."""
    if name.endswith("[x]"):
        stem = name.removesuffix("[x]")
        length = len(stem)
        return lambda value: any(
            key[length : length + 1].isupper() for key in map(_plain, value) if key.startswith(stem)
        )
    beside = f"_{name}"
    return lambda value: name in value or beside in value


def _plain(key: str) -> str:
    return key[1:] if key[:1] == "_" else key


def needs(first: str, second: str) -> Rule:
    """Where `first` is, `second` must be."""
    has_first, has_second = there(first), there(second)
    return lambda value: not has_first(value) or has_second(value)


def excludes(first: str, *others: str) -> Rule:
    """Where `first` is, none of `others` may be."""
    has_first, has_others = there(first), [there(name) for name in others]
    return lambda value: not has_first(value) or not any(has(value) for has in has_others)


def any_of(*names: str) -> Rule:
    """At least one of `names` must be there."""
    tests = [there(name) for name in names]
    return lambda value: any(has(value) for has in tests)


def at_most_one_of(*names: str) -> Rule:
    """Not more than one of `names` may be there."""
    tests = [there(name) for name in names]
    return lambda value: sum(has(value) for has in tests) <= 1


def just_one_of(*names: str) -> Rule:
    """Exactly one of `names` must be there."""
    tests = [there(name) for name in names]
    return lambda value: sum(has(value) for has in tests) == 1


def together(first: str, second: str) -> Rule:
    """Both or neither."""
    has_first, has_second = there(first), there(second)
    return lambda value: has_first(value) == has_second(value)


def only_if(name: str, condition: Rule) -> Rule:
    """Where `name` is, `condition` must hold."""
    has = there(name)
    return lambda value: not has(value) or condition(value)


def either(first: Rule, second: Rule) -> Rule:
    """One of two rules must hold."""
    return lambda value: first(value) or second(value)


def is_one_of(name: str, *codes: str) -> Rule:
    """The code of `name` is among `codes`."""
    return lambda value: value.get(name) in codes


def all_of(name: str, rule: Rule) -> Rule:
    """Each of the elements `name` must obey `rule`."""
    return lambda value: all(rule(one) for one in value.get(name, ()))


def distinct(values: Iterable[Any]) -> bool:
    """Whether no value is there twice; absent ones do not count."""
    seen: set[Any] = set()
    for one in values:
        if one in seen:
            return False
        if one is not None:
            seen.add(one)
    return True


def has_coding(concept: Elements | None, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept has one of `codes` of `system`."""
    codings = (concept or {}).get("coding", ())
    return any(one.get("system") == system and one.get("code") in codes for one in codings)
