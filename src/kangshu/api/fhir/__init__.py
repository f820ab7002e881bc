"""The FHIR R4 door under `/fhir`: plain routes, for every microsecond here is paid for by every request.

Errors are OperationOutcomes. Reads name their purpose in the header `X-Purpose` (treatment where it is
absent); each is authorised and on record before it is answered.
"""

from kangshu.api.fhir.door import build_fhir

__all__ = ["build_fhir"]
