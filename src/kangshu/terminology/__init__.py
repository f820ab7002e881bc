"""What codes mean: the value sets a region pack carries, and full code lists loaded by edition.

Short tables travel with the pack and need no database. Long lists (ICD-10, ICD-9-CM-3) belong to
their publishers, so a centre loads the editions it may use; each is in force from a day on, and a
code is looked up as of a day.
"""

from kangshu.terminology.errors import (
    CodeListRefusedError,
    EditionConflictError,
    TerminologyError,
    UnknownValueSetError,
)
from kangshu.terminology.model import CodeEntry, Edition
from kangshu.terminology.operations import load_edition
from kangshu.terminology.queries import find_code, find_edition, list_editions, titles_of
from kangshu.terminology.reading import CodeList, read_code_list
from kangshu.terminology.value_sets import children_of, title_in, title_of, value_set

__all__ = [
    "CodeEntry",
    "CodeList",
    "CodeListRefusedError",
    "Edition",
    "EditionConflictError",
    "TerminologyError",
    "UnknownValueSetError",
    "children_of",
    "find_code",
    "find_edition",
    "list_editions",
    "load_edition",
    "read_code_list",
    "title_in",
    "title_of",
    "titles_of",
    "value_set",
]
