"""Clinical documents (WS/T 500, C-CDA) to FHIR R4, as the files of a pack's `cda` folder declare it.

A document becomes its Patient, the Encounter that it numbers, a DocumentReference, and one resource for each
coded entry that maps safely: a code with its system, a value with its unit. Everything else stays in the
document, which is kept as sent. What a centre's senders do differently is said in the files:

| file | says |
|---|---|
| `numbers.toml` | what the roots of identifiers name; the time zone |
| `codes.toml` | code systems with the shape of their codes, sexes, classes of visits, units |
| `documents.toml` | classes of documents; which of them are reports |
| `rules_*.toml` | which entries become what |
"""

from kangshu.mapping.cda.lineage import CdaSource, list_cda_sources
from kangshu.mapping.cda.mapping import CdaMapping, load_cda
from kangshu.mapping.cda.model import DocumentClass

__all__ = ["CdaMapping", "CdaSource", "DocumentClass", "list_cda_sources", "load_cda"]
