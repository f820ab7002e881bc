"""HL7 v2 messages become FHIR R4 resources as the pack declares it (HL7 v2 消息到 FHIR 资源的映射).

The declarations are written in the terms of the published HL7 v2-to-FHIR guide: message maps, segment maps,
data type maps and vocabulary maps. They are compiled once; a centre adds a Z segment with a file.
"""

from kangshu.mapping.hl7v2.lineage import Hl7v2Source, list_hl7v2_sources
from kangshu.mapping.hl7v2.mapping import Hl7v2Mapping, load_hl7v2

__all__ = ["Hl7v2Mapping", "Hl7v2Source", "list_hl7v2_sources", "load_hl7v2"]
