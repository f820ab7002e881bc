"""The doors for machines: tokens, data-set files in, receipts out, probes and metrics.

`build` makes the application from the `Services` that the app gives it; its paths stand at the root.
Every error is problem JSON (RFC 9457). `MeasureRequests` counts the requests of a whole application.
"""

from kangshu.api.app import build
from kangshu.api.errors import ApiError
from kangshu.api.metrics import MeasureRequests
from kangshu.api.services import Services, SubmitUpload

__all__ = ["ApiError", "MeasureRequests", "Services", "SubmitUpload", "build"]
