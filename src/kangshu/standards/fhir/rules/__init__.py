"""The invariants of R4 by key, each a function of the element that it stands at: does it hold?

They are asked only where the structure is right, so they may take lists for lists. `NOT_CHECKED` says which
rules are left out and why. Those in `ELSEWHERE` need more than their element and are checked where that is
seen.
"""

from kangshu.kernel.texts import load_catalogue
from kangshu.standards.fhir.rules import conformance, datatypes, records
from kangshu.standards.fhir.rules.forms import Rule

RULES: dict[str, Rule] = datatypes.RULES | records.RULES | conformance.RULES

RULE_TEXTS = load_catalogue(__name__)
"""What the rules demand, in both languages, for those of records and data types."""

ELSEWHERE = frozenset({"ele-1", "ref-1", "dom-2", "dom-3", "dom-4", "dom-5", "txt-1", "txt-2"})

_NAMES = "a hint for authors of code generators; no message of a hospital carries these resources"
_NAMED = (
    "adf cid cmd cpb cpd csd ees esc evd evi evv gdf ig lib mea msd nsd opd pdf que red rsd rvs sdf smp spd"
    " tcp tst vsd"
)
_UNFINISHED = "R4 compares with the system 'something', so the rule can never apply"
NOT_CHECKED: dict[str, str] = {
    "dom-6": "a resource that was mapped from a message has no narrative, and needs none",
    "ctm-1": "needs the resource that the member refers to",
    "ppc-2": _UNFINISHED,
    "ppc-3": _UNFINISHED,
    "ppc-4": _UNFINISHED,
    "ppc-5": _UNFINISHED,
    "eld-20": _NAMES,
    "eld-21": _NAMES,
} | {f"{stem}-0": _NAMES for stem in _NAMED.split()}

__all__ = ["ELSEWHERE", "NOT_CHECKED", "RULES", "RULE_TEXTS", "Rule"]
