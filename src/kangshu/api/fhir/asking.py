"""One request to the FHIR door, with what is needed to answer it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.requests import Request

from kangshu.api.bodies import Bodies
from kangshu.api.errors import BodyRefusedError, BodyUnsupportedError, say
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache, authenticate_quickly
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.security.errors import NotPermittedError
from kangshu.security.principals import Permission, Principal
