"""The past of the index: splits and their undoing, and the index made anew out of what happened.

Every holding is noted as it is first given (`identity_linked`), every move by a split or its undo
(`identity_moved`), every merge with its undo (`identity_merge`): none of them is ever changed or deleted.
"""

from kangshu.identity.history.rebuilding import Rebuilt, check_index, rebuild_index
from kangshu.identity.history.splitting import ToldFacts, list_splits, split_person, undo_split

__all__ = [
    "Rebuilt",
    "ToldFacts",
    "check_index",
    "list_splits",
    "rebuild_index",
    "split_person",
    "undo_split",
]
