"""Messages as they arrived, one by one: kept, known again, counted, opened under guard, and pruned in time.

The pipeline asks `find_known` whether a message came before, keeps it with what became of it by
`record_messages`, and counts what comes again by `note_repeats`, all in its own transaction. What was refused
is listed and tried again (`list_replayable`, `open_for_replay`, `finish_replay`); all bytes go after the set
time (`prune_bodies`), and what went is on record.
"""

from kangshu.intake.messages.errors import (
    BodyPrunedError,
    MessageNotFoundError,
    MessageRaceError,
    MessageSettledError,
)
from kangshu.intake.messages.masking import readable_body
from kangshu.intake.messages.model import (
    DIGEST_BYTES,
    Known,
    Message,
    MessageCount,
    MessageFilter,
    MessageFormat,
    MessageKey,
    MessageResult,
    MessageState,
    NewMessage,
    Pruning,
    ReplayMessages,
    ReplayOutcome,
    StoredBody,
    TakeMessage,
    digest_of,
)
from kangshu.intake.messages.operations import (
    finish_replay,
    fold_counts,
    note_repeats,
    prune_bodies,
    record_messages,
)
from kangshu.intake.messages.queries import (
    BODY_READ,
    REPLAY,
    count_found,
    count_messages,
    find_known,
    get_message,
    list_messages,
    list_prunings,
    list_replayable,
    open_body,
    open_for_replay,
    open_masked,
)

__all__ = [
    "BODY_READ",
    "DIGEST_BYTES",
    "REPLAY",
    "BodyPrunedError",
    "Known",
    "Message",
    "MessageCount",
    "MessageFilter",
    "MessageFormat",
    "MessageKey",
    "MessageNotFoundError",
    "MessageRaceError",
    "MessageResult",
    "MessageSettledError",
    "MessageState",
    "NewMessage",
    "Pruning",
    "ReplayMessages",
    "ReplayOutcome",
    "StoredBody",
    "TakeMessage",
    "count_found",
    "count_messages",
    "digest_of",
    "find_known",
    "finish_replay",
    "fold_counts",
    "get_message",
    "list_messages",
    "list_prunings",
    "list_replayable",
    "note_repeats",
    "open_body",
    "open_for_replay",
    "open_masked",
    "prune_bodies",
    "readable_body",
    "record_messages",
]
