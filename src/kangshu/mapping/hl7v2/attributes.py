"""Hold the attributes that declarations name against FHIR R4: are they there, and do they repeat?"""

from __future__ import annotations

from kangshu.kernel.texts import Text
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.paths import steps_of
from kangshu.standards.fhir.definitions import definitions


def wrong_attribute(kind: str, text: str) -> Text | None:
    """Return what is wrong with the attribute `text` of the type `kind`, or None.

    What begins with `#` is a note of the declarations for a finishing function, no attribute.
    """
    types = definitions().types
    for step in steps_of(text):
        if step.name.startswith("#"):
            return None
        name = step.name.removeprefix("_")
        found = next((one for one in types[kind].elements if name in one.names()), None)
        if found is None:
            return say("no_attribute", name=f"{kind}.{name}")
        repeats = step.index is not None or step.url is not None
        if repeats != found.is_list:
            return say("one_attribute" if repeats else "many_attribute", name=f"{kind}.{name}")
        if step.name != name:
            kind = "Element"
            continue
        kind = found.inner or found.inner_of or found.names()[name].code
        if kind not in types:
            return None
    return None
