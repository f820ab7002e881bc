"""The slips that senders make, put into what is said, each with what should become of the message.

A message that is refused is followed by the right one, as senders do when they are told, so that nothing
of the truth is lost; of a message sent twice or under another's control id the first one counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from kangshu.simulation.speech.said import Fate, Said, Slip
from kangshu.simulation.speech.speakers import Form
from kangshu.simulation.streams import Stream

_PID = re.compile(r"(?m)(?:^|\r)PID\|[^\r]*")
_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One kind of slip: of how many messages it befalls one, and which they are."""

    slip: Slip
    share: float
    suits: Callable[[Said], bool]


def _about_patient(said: Said) -> bool:
    return not said.type.startswith(("ADT^A28", "ADT^A40"))


def _registered(said: Said) -> bool:
    return said.type in ("ADT^A04", "ADT^A08")


def _whole(said: Said) -> bool:
    return bool(said.control_id)


def _json(said: Said) -> bool:
    return bool(said.control_id) and not said.name.endswith(".xml")


# Shares are arbitrary; each kind befalls every speaker once at least, if he says enough.
_KINDS = {
    Form.HL7V2: (
        _Kind(slip=Slip.SENT_TWICE, share=0.006, suits=_about_patient),
        _Kind(slip=Slip.CONTROL_ID_REUSED, share=0.0006, suits=_registered),
        _Kind(slip=Slip.NUMBER_MISSING, share=0.002, suits=_about_patient),
        _Kind(slip=Slip.DATE_WRONG, share=0.002, suits=_registered),
    ),
    Form.FHIR: (
        _Kind(slip=Slip.SENT_TWICE, share=0.006, suits=_json),
        _Kind(slip=Slip.CONTROL_ID_REUSED, share=0.0006, suits=_json),
        _Kind(slip=Slip.DATE_WRONG, share=0.002, suits=_json),
        _Kind(slip=Slip.CODE_WRONG, share=0.002, suits=_json),
        _Kind(slip=Slip.ELEMENT_UNKNOWN, share=0.002, suits=_json),
    ),
    Form.DOCUMENTS: (
        _Kind(slip=Slip.SENT_TWICE, share=0.006, suits=_whole),
        _Kind(slip=Slip.CONTROL_ID_REUSED, share=0.0006, suits=_whole),
        _Kind(slip=Slip.CUT_OFF, share=0.002, suits=_whole),
    ),
}


def slipped(said: Iterable[Said], *, form: Form, random: Stream) -> list[Said]:
    """Return what is said in order, with slips; `said` has its control ids and stands in order of time."""
    messages = list(said)
    chosen: dict[int, Slip] = {}
    for kind in _KINDS[form]:
        fit = [n for n, one in enumerate(messages) if n not in chosen and not one.slip and kind.suits(one)]
        wanted = min(max(1, round(kind.share * len(messages))), len(fit) // 4)
        for place in random.permutation(len(fit))[:wanted].tolist():
            chosen[fit[place]] = kind.slip
    found: list[Said] = []
    for number, one in enumerate(messages):
        found += _after(one, chosen[number], form) if number in chosen else (one,)
    return found


def _after(said: Said, slip: Slip, form: Form) -> tuple[Said, ...]:
    """Return what is sent in place of a message that a slip befalls."""
    text = said.make(said.control_id)
    match slip:
        case Slip.SENT_TWICE:
            return said, replace(said, slip=slip, fate=Fate.REPEAT, name=_beside(said.name, "copy"))
        case Slip.CONTROL_ID_REUSED:
            other = _fixed(said, _varied(text, form))
            return said, replace(other, slip=slip, fate=Fate.CONFLICT, name=_beside(said.name, "again"))
        case Slip.NUMBER_MISSING:
            first = _fixed(said, _without_number(text))
            later = _resent(said, form)
            return replace(first, slip=slip, fate=Fate.REFUSED), later
        case _:
            first = _fixed(said, _BROKEN[slip](text, form))
            # the control id of a message that was not taken may be used again
            later = replace(said, name=_beside(said.name, "resent"))
            return replace(first, slip=slip, fate=Fate.REFUSED), later


def _fixed(said: Said, text: str) -> Said:
    return replace(said, make=lambda _: text)


def _resent(said: Said, form: Form) -> Said:
    """The same under a control id of its own."""
    assert form is Form.HL7V2, "others are told of by another slip"
    control = f"{said.control_id}R"
    text = said.make(said.control_id).replace(f"|{said.control_id}|", f"|{control}|", 1)
    return replace(_fixed(said, text), control_id=control)


def _beside(name: str, word: str) -> str:
    """Return the name of the file beside one, where messages have files of their own."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}_{word}{dot}{suffix}" if dot else name


def _varied(text: str, form: Form) -> str:
    """Return other content under the same control id: a telephone number, or a title, that differs."""
    if form is Form.HL7V2:
        return _edited(text, 14, "^WPN^PH^^^^09909900000")
    if form is Form.FHIR:
        return text.replace('"use":"official"', '"use":"usual"', 1)
    return text.replace("</title>", "（补）</title>", 1)


def _without_number(text: str) -> str:
    return _edited(text, 3, "")


def _edited(text: str, field: int, value: str) -> str:
    """Return an HL7 v2 message with another value in a field of PID."""

    def edit(found: re.Match[str]) -> str:
        fields = found[0].split("|")
        fields += [""] * (field + 1 - len(fields))
        fields[field] = value
        return "|".join(fields)

    return _PID.sub(edit, text, count=1)


def _wrong_date(text: str, form: Form) -> str:
    if form is Form.HL7V2:
        return _edited(text, 7, "19680230")
    return re.sub(r'"birthDate":"[^"]*"', '"birthDate":"1968-02-30"', text, count=1)


_BROKEN: dict[Slip, Callable[[str, Form], str]] = {
    Slip.DATE_WRONG: _wrong_date,
    Slip.CODE_WRONG: lambda text, _: re.sub(r'"gender":"[^"]*"', '"gender":"男"', text, count=1),
    Slip.ELEMENT_UNKNOWN: lambda text, _: text.replace('"birthDate":', '"birthday":', 1),
    Slip.CUT_OFF: lambda text, _: text[: len(text) * 2 // 3],
}
