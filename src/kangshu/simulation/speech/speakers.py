"""Which institutions send messages instead of files in the last month, and in which way each speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kangshu.simulation.blocks import Block
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import stream

MESSAGE_DATASETS = frozenset(
    {
        "outpatient_visit",
        "diagnosis",
        "prescription_item",
        "lab_report",
        "lab_result",
        "exam_report",
        "immunization",
    }
)
"""What a speaker says in messages; all else it sends as files, as before."""


class Form(StrEnum):
    """The family of standards that a speaker's interface engine knows."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"
    DOCUMENTS = "documents"


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one speaker speaks.

    `charset` is how text becomes bytes, `declared` what MSH-18 says of it; the laboratory's program may
    differ (`laboratory_charset`, `laboratory_declared`: nothing said). `enveloped` puts each file into
    FHS and BHS. `summaries` sends a shared document at every discharge besides.
    """

    name: str
    form: Form
    version: str = ""
    charset: str = "utf-8"
    declared: str = "UNICODE UTF-8"
    laboratory_charset: str = ""
    laboratory_declared: str = ""
    enveloped: bool = False
    summaries: bool = False


_PROVINCIAL = Manner(name="provincial hospital", form=Form.HL7V2, version="2.4", summaries=True)
_OF_HOSPITALS = (
    Manner(
        name="old hospital",
        form=Form.HL7V2,
        version="2.3.1",
        charset="gb18030",
        declared="GB 18030-2000",
        laboratory_charset="gbk",
    ),
    Manner(name="new hospital", form=Form.FHIR, version="4.0.1"),
)
_OF_PRIMARY_CARE = (
    Manner(name="health centre", form=Form.HL7V2, version="2.5.1", enveloped=True),
    Manner(name="document centre", form=Form.DOCUMENTS, version="WS/T 500", charset="gb18030"),
)


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """The speakers by institution number."""

    manners: dict[int, Manner]

    @classmethod
    def of(cls, region: Region, seed: int) -> Speakers:
        """Return the provincial hospital and, as `seed` says, two other hospitals and two of primary care.

        Half of a kind at most: a small region keeps senders of files.
        """
        kinds = region.institutions.kinds
        tertiary = int(np.flatnonzero(kinds == Kind.TERTIARY)[0])
        manners = {tertiary: _PROVINCIAL}
        random = stream(seed, "speakers")
        for wanted, offered in (
            ((Kind.SECONDARY, Kind.CHINESE_MEDICINE, Kind.MATERNAL), _OF_HOSPITALS),
            ((Kind.COMMUNITY, Kind.TOWNSHIP), _OF_PRIMARY_CARE),
        ):
            candidates = np.flatnonzero(np.isin(kinds, wanted))
            # a county's general hospital has enough to say; the others are asked where there are too few
            large = np.flatnonzero(kinds == wanted[0])
            chosen = random.permutation(large if len(large) >= 2 * len(offered) else candidates)
            for number, manner in zip(chosen[: len(candidates) // 2].tolist(), offered, strict=False):
                manners[number] = manner
        return cls(manners=dict(sorted(manners.items())))

    def unsaid(self, block: Block) -> Block:
        """Return a block of the last month without the rows that go as messages."""
        if block.dataset not in MESSAGE_DATASETS:
            return block
        spoken = np.isin(block.institutions, list(self.manners))
        return block.taken(np.flatnonzero(~spoken)) if spoken.any() else block
