"""The resources of one message, found by reference and by what they refer to, with what was read before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kangshu.mapping.rows.blocks import Block
from kangshu.mapping.rows.paths import Context

Found: TypeAlias = tuple[tuple[str, ...], tuple[int, ...]]
"""References to the resources that a link leads to, and the place of each among its like, from 1."""
_NOTHING: Found = ((), ())


class Message:
    """The resources of one message, and what was read of them."""

    def __init__(
        self,
        resources: Sequence[Mapping[str, Any]],
        context: Sequence[Mapping[str, Any]],
        *,
        institution: str,
    ) -> None:
        self.context = Context(institution)
        self.by_reference: dict[str, Mapping[str, Any]] = {}
        self.by_type: dict[str, list[Mapping[str, Any]]] = {}
        self.parts: dict[tuple[int, str], dict[str, Any]] = {}
        self.shared: dict[Any, Shared | None] = {}
        self._ordinals: dict[str, dict[int, int]] = {}
        self._back: dict[tuple[str, str], dict[str, Found]] = {}
        for group in (resources, context):
            for resource in group:
                kind = str(resource.get("resourceType", ""))
                self.by_reference.setdefault(f"{kind}/{resource.get('id')}", resource)
                self.by_type.setdefault(kind, []).append(resource)

    def ordinal(self, resource: Mapping[str, Any]) -> int:
        """Return the place of a resource among those of its type, from 1."""
        kind = str(resource.get("resourceType", ""))
        if kind not in self._ordinals:
            self._ordinals[kind] = {id(one): place for place, one in enumerate(self.by_type[kind], start=1)}
        return self._ordinals[kind][id(resource)]

    def referring(self, block: Block, target: str) -> Found:
        """Return the resources of the block's type that refer to `target`, and in which place, from 1."""
        key = (block.type, block.refers_key)
        index = self._back.get(key)
        if index is None:
            index = self._back[key] = self._index(block)
        return index.get(target, _NOTHING)

    def _index(self, block: Block) -> dict[str, Found]:
        index: dict[str, list[tuple[str, int]]] = {}
        assert block.refers is not None, "only blocks that refer to their parent are looked for so"
        for resource in self.by_type.get(block.type, ()):
            own = f"{block.type}/{resource.get('id')}"
            for place, target in enumerate(block.refers(resource, self.context), start=1):
                if isinstance(target, str):
                    index.setdefault(target, []).append((own, place))
        return {target: _found(pairs) for target, pairs in index.items()}


@dataclass(slots=True)
class Shared:
    """What all anchors with the same links have in common: fields, and the resource each link leads to."""

    values: dict[str, Any]
    chosen: dict[str, str]


def candidates(block: Block, own: str, resource: Mapping[str, Any], message: Message) -> Found:
    """Return what a link leads to from the parent `own`: what the parent names, else what names it."""
    known = message.by_reference
    if block.plain_reference:
        named = resource.get(block.plain_reference)
        reference = named.get("reference") if isinstance(named, dict) else None
        if isinstance(reference, str) and reference in known and reference.startswith(block.start):
            return (reference,), (1,)
    else:
        for references in block.references:
            found = [
                (reference, place)
                for place, reference in enumerate(references(resource, message.context), start=1)
                if isinstance(reference, str) and reference in known and reference.startswith(block.start)
            ]
            if found:
                return _found(found)
    return message.referring(block, own) if block.refers is not None else _NOTHING


def _found(pairs: Sequence[tuple[str, int]]) -> Found:
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
