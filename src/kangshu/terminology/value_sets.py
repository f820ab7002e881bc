"""Look into the code tables of a region pack; pure."""

from __future__ import annotations

from kangshu.declarations import Code, CodeTable, Pack
from kangshu.kernel.texts import Language, Text, load_catalogue
from kangshu.terminology.errors import UnknownValueSetError

say = load_catalogue(__package__ or __name__)


def value_set(*, pack: Pack, name: str) -> CodeTable:
    """Return the code table called `name`.

    Raises:
        UnknownValueSetError: the pack declares none.
    """
    try:
        return pack.codes[name]
    except KeyError:
        raise UnknownValueSetError(say("unknown_value_set", name=name)) from None


def title_of(*, pack: Pack, name: str, code: str) -> Text | None:
    """Return what `code` means in the table `name`, or nothing where the table does not hold it.

    Raises:
        UnknownValueSetError: the pack declares no such table.
    """
    return value_set(pack=pack, name=name).titles().get(code)


def title_in(language: Language, *, pack: Pack, name: str, code: str) -> str:
    """Return the title for people to read; a code that the table does not hold stands for itself.

    Raises:
        UnknownValueSetError: the pack declares no such table.
    """
    title = title_of(pack=pack, name=name, code=code)
    return title.in_(language) if title else code


def children_of(*, pack: Pack, name: str, code: str | None = None) -> tuple[Code, ...]:
    """Return the codes directly below `code`, or the top of the tree, in the order of the table.

    Raises:
        UnknownValueSetError: the pack declares no such table.
    """
    return tuple(entry for entry in value_set(pack=pack, name=name).codes if entry.parent == code)
