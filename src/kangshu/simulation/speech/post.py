"""Write what the speakers say into files of messages, and the truth about every message."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kangshu.declarations import Pack
from kangshu.simulation.speech.documents import DocumentVoice
from kangshu.simulation.speech.fhir import FhirVoice
from kangshu.simulation.speech.hl7v2 import Hl7Voice
from kangshu.simulation.speech.month import Month, collect_months, when
from kangshu.simulation.speech.said import Said
from kangshu.simulation.speech.slips import slipped
from kangshu.simulation.speech.speakers import Form, Manner, Speakers
from kangshu.simulation.streams import stream
from kangshu.simulation.visits import DAY
from kangshu.simulation.world import World

FOLDER = "messages"
"""The folder of messages beside an institution's other files."""

COLUMNS = ("file", "place", "sender", "control_id", "type", "person", "fate", "fault")


@dataclass(frozen=True, kw_only=True)
class Posted:
    """How much was said, in how many files."""

    files: int
    messages: int


def post_messages(world: World, *, speakers: Speakers, pack: Pack, out: Path) -> Posted:
    """Write the last month's messages under `out/submissions` and `out/truth/messages.csv`.

    A file is named by its day, so that the order of names is that of time. In the truth a message's place
    is its number in the file, from 1.
    """
    months = collect_months(world, month=world.months - 1, institutions=speakers.manners, pack=pack)
    files = messages = 0
    (out / "truth").mkdir(parents=True, exist_ok=True)
    with (out / "truth" / "messages.csv").open("w", encoding="utf-8", newline="") as told:
        truth = csv.writer(told, lineterminator="\n")
        truth.writerow(COLUMNS)
        for month in months:
            manner = speakers.manners[month.institution]
            folder = out / "submissions" / month.code / FOLDER
            for name, said in sorted(_files(_spoken(world, month, manner)).items()):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(_content(manner, month, said))
                files, messages = files + 1, messages + len(said)
                for place, one in enumerate(said, start=1):
                    about = (month.code, one.control_id, one.type, one.person, one.fate.value, one.slip)
                    truth.writerow((f"{month.code}/{FOLDER}/{name}", place, *about))
    return Posted(files=files, messages=messages)


def _spoken(world: World, month: Month, manner: Manner) -> list[Said]:
    """Return all that a speaker says, with its slips, in order of time."""
    random = stream(world.seed, "speech", month.institution)
    documents = DocumentVoice(month, manner.charset, stream(world.seed, "documents", month.institution))
    parts: list[tuple[Form, Iterable[Said]]]
    if manner.form is Form.HL7V2:
        parts = [(Form.HL7V2, Hl7Voice(month, manner, random).said())]
        if manner.summaries:
            parts.append((Form.DOCUMENTS, documents.discharges()))
    elif manner.form is Form.FHIR:
        parts = [(Form.FHIR, FhirVoice(month, random).said())]
    else:
        parts = [(Form.DOCUMENTS, documents.said()), (Form.FHIR, FhirVoice(month, random).vaccinations())]
    found: list[Said] = []
    for form, said in parts:
        ordered = sorted(said, key=lambda one: one.at)  # what is said at one time keeps its order
        numbered = _numbered(ordered) if form is Form.HL7V2 else ordered
        found += slipped(numbered, form=form, random=stream(world.seed, "slips", month.institution, form))
    return found


def _numbered(said: Iterable[Said]) -> Iterator[Said]:
    """Give each message its control id: its program's letter, the day, and its number in the day."""
    counts: defaultdict[str, int] = defaultdict(int)
    for one in said:
        series = f"{one.channel[0].upper()}{when(one.at):%y%m%d}"
        counts[series] += 1
        yield replace(one, control_id=f"{series}{counts[series]:05d}")


def _files(said: Iterable[Said]) -> dict[str, list[Said]]:
    """Return what goes into each file."""
    files: defaultdict[str, list[Said]] = defaultdict(list)
    for one in said:
        day = f"{when(one.at // DAY * DAY):%Y-%m-%d}"
        files[f"{day}_{one.name or one.channel + _suffix(one)}"].append(one)
    return files


def _suffix(said: Said) -> str:
    return ".hl7" if "^" in said.type else ".ndjson"


def _content(manner: Manner, month: Month, said: list[Said]) -> bytes:
    """Return a file's bytes. A character that the sender's character set lacks becomes a question mark."""
    charset = manner.charset
    if said[0].channel == "lis" and manner.laboratory_charset:
        charset = manner.laboratory_charset
    texts = [one.make(one.control_id) for one in said]
    if "^" in said[0].type:
        if manner.enveloped:
            at = f"{when(said[0].at):%Y%m%d%H%M%S}"
            envelope = f"|^~\\&|HIS|{month.code}|KANGSHU|REGION|{at}"
            texts = [f"FHS{envelope}\r", f"BHS{envelope}\r", *texts, f"BTS|{len(said)}\r", "FTS|1\r"]
        return "".join(f"{text}\n" for text in texts).encode(charset, errors="replace")
    if said[0].name:
        (only,) = texts
        form = manner.charset if only.startswith("<?xml") and "ClinicalDocument" in only else "utf-8"
        return only.encode(form)
    return "".join(f"{text}\n" for text in texts).encode()
