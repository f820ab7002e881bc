"""What reading and storing messages needs, opened once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kangshu.declarations import Pack
from kangshu.identity import LinkageModel
from kangshu.kernel.clock import Clock
from kangshu.mapping import Authorities, MakeId
from kangshu.mapping.cda import CdaMapping
from kangshu.mapping.hl7v2 import Hl7v2Mapping
from kangshu.mapping.rows import RowMapper
from kangshu.security.keys import Keys


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The pack's compiled mappings and the platform's keys."""

    pack: Pack
    keys: Keys
    clock: Clock
    random: Callable[[int], bytes]
    """`random(n)` gives n unpredictable bytes."""
    linkage: LinkageModel
    make_id: MakeId
    authorities: Authorities
    hl7v2: Hl7v2Mapping
    cda: CdaMapping
    rows: RowMapper
