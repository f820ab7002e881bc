"""Where people live and who looks after them: divisions, institutions, departments, populations.

The centre's lists come in as data sets and are the directory from then on. An institution that sends
data without being listed is put on record as provisional, so nothing is lost and somebody can ask
who it is. Lists for people are always cut to somebody's reach.
"""

from kangshu.directory.errors import (
    DirectoryError,
    DirectoryRowRefusedError,
    InstitutionCodeRefusedError,
    InstitutionUnknownError,
)
from kangshu.directory.model import Department, Division, Institution, Population
from kangshu.directory.operations import (
    ensure_provisional,
    load_departments,
    load_divisions,
    load_institutions,
    load_populations,
)
from kangshu.directory.queries import (
    count_institutions,
    division_path,
    divisions_of,
    find_institution,
    get_institution,
    institution_codes,
    institutions_by_code,
    level_title,
    list_departments,
    list_divisions,
    list_institutions,
    list_populations,
    names_of,
    reports_for,
)

__all__ = [
    "Department",
    "DirectoryError",
    "DirectoryRowRefusedError",
    "Division",
    "Institution",
    "InstitutionCodeRefusedError",
    "InstitutionUnknownError",
    "Population",
    "count_institutions",
    "division_path",
    "divisions_of",
    "ensure_provisional",
    "find_institution",
    "get_institution",
    "institution_codes",
    "institutions_by_code",
    "level_title",
    "list_departments",
    "list_divisions",
    "list_institutions",
    "list_populations",
    "load_departments",
    "load_divisions",
    "load_institutions",
    "load_populations",
    "names_of",
    "reports_for",
]
