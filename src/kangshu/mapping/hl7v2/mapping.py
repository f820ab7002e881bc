"""Apply a pack's HL7 v2 declarations to messages."""

from __future__ import annotations

from pathlib import Path

from kangshu.mapping import Authorities, MakeId, Mapped, Note
from kangshu.mapping.hl7v2.applying import Memory, Run
from kangshu.mapping.hl7v2.compiling import Plans, compile_declarations
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.loading import read_declarations
from kangshu.standards.hl7v2 import Message


class Hl7v2Mapping:
    """The compiled mapping of a pack: safe to share between threads; what it remembers changes no answer."""

    def __init__(self, plans: Plans, *, authorities: Authorities) -> None:
        self._plans = plans
        self._authorities = authorities
        self._memory = Memory()

    def apply(self, message: Message, *, sender: str, make_id: MakeId) -> Mapped:
        """Return the resources, merges and notes that `message` becomes.

        `sender` is the institution that sent it: numbers without an authority and codes without a system are
        its own. Ids follow from sender and business key, so that a second message about the same visit gives
        the same resource again. What is not declared is noted, never an error.

        Raises:
            MappingError: something is missing or impossible without which nothing is said; its place is in
                the sender's notation (`PID-3`).
        """
        plan = self._plans.of(message.type.upper(), message.event.upper())
        if plan is None:
            return Mapped(drafts=(), notes=(Note(place="MSH-9", text=say["message_not_mapped"]),))
        run = Run(
            self._plans,
            plan,
            message=message,
            sender=sender,
            authorities=self._authorities,
            make_id=make_id,
            memory=self._memory,
        )
        return run.mapped()


def load_hl7v2(folder: Path, *, authorities: Authorities) -> Hl7v2Mapping:
    """Return the mapping that the TOML files in `folder` declare.

    Raises:
        DeclarationError: a declaration is wrong; its place is `file:line`.
    """
    return Hl7v2Mapping(compile_declarations(read_declarations(folder)), authorities=authorities)
