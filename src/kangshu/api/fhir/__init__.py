"""The FHIR R4 door under `/fhir`.

Errors are OperationOutcomes. Reads name their purpose in the header `X-Purpose` (treatment where it is
absent); each is authorised and on record before it is answered.
"""

from kangshu.api.fhir.description import fhir_paths
from kangshu.api.fhir.door import FhirDoor

__all__ = ["FhirDoor", "fhir_paths"]
