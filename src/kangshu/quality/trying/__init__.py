"""Trying a rule (规则试算): what it would find among rows of the lake, before it counts.

The rule is bound as any declared one and asked of the latest files within the asker's reach, in a process of
its own that is ended when it takes too long or too much. It tells places alone: files and row numbers.
"""

from kangshu.quality.trying.errors import TrialError, TrialFailedError, TrialStoppedError
from kangshu.quality.trying.model import MOST_ROWS, Trial, TrialFile, TrialPlace
from kangshu.quality.trying.operations import try_rule

__all__ = [
    "MOST_ROWS",
    "Trial",
    "TrialError",
    "TrialFailedError",
    "TrialFile",
    "TrialPlace",
    "TrialStoppedError",
    "try_rule",
]
