"""What can go wrong with messages on record.

IntakeError
├── MessageRaceError          interrupted   another transaction stored the same message meanwhile: look again
├── MessageNotFoundError      not found     name a message that exists and lies within reach
├── MessageSettledError       conflict      the message is not refused (any more): there is nothing to replay
└── BodyPrunedError           not found     its bytes were removed after the set time; ask the sender
"""

from __future__ import annotations

from kangshu.intake.errors import IntakeError
from kangshu.kernel.errors import Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue("kangshu.intake.messages")


class MessageRaceError(IntakeError):
    """Undo the transaction and begin again with `find_known`: the answer is another one now."""

    kind = Kind.INTERRUPTED

    def __init__(self) -> None:
        super().__init__(say["message_race"])


class MessageNotFoundError(IntakeError):
    """There is no such message, or it is not the caller's to see."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, message: int) -> None:
        super().__init__(say("message_not_found", id=message))


class MessageSettledError(IntakeError):
    """Leave it: only a refused message is tried again."""

    kind = Kind.CONFLICT

    def __init__(self, *, message: int) -> None:
        super().__init__(say("message_settled", id=message))


class BodyPrunedError(IntakeError):
    """The record of the message is still there, its bytes are not."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, message: int) -> None:
        super().__init__(say("body_pruned", id=message))
