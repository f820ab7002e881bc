"""Message structures (table 0354) by type and event, for messages that leave MSH-9.3 out."""

from __future__ import annotations

_SHARED = {
    "ADT_A01": "A01 A04 A08 A13",
    "ADT_A05": "A05 A14 A28 A31",
    "ADT_A06": "A06 A07",
    "ADT_A09": "A09 A10 A11 A12",
    "ADT_A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33",
    "ADT_A30": "A30 A34 A35 A36 A46 A47 A48 A49",
    "ADT_A39": "A39 A40 A41 A42",
    "ADT_A43": "A43 A44",
    "ADT_A50": "A50 A51",
    "ADT_A52": "A52 A53",
    "ADT_A54": "A54 A55",
    "ADT_A61": "A61 A62",
    "BAR_P01": "P01",
    "MDM_T01": "T01 T03 T05 T07 T09 T11",
    "MDM_T02": "T02 T04 T06 T08 T10",
    "PPR_PC1": "PC1 PC2 PC3",
    "QBP_Q21": "Q21 Q22 Q23 Q24 Q25",
    "REF_I12": "I12 I13 I14 I15",
    "RSP_K21": "K21 K22 K24",
    "SIU_S12": "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
}
_STRUCTURES = {
    (structure[:3], event): structure for structure, events in _SHARED.items() for event in events.split()
}


def structure_of(message_type: str, event: str) -> str:
    """Return the structure of a message, as `ADT_A01` for ADT^A04; its type where no event is known."""
    if not event:
        return message_type
    return _STRUCTURES.get((message_type, event)) or f"{message_type}_{event}"
