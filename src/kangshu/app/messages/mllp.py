"""The door for HL7 v2 over MLLP: the lane behind a socket, with TLS where the settings say so."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kangshu.api.mllp import MllpLimits, Peer, serve_mllp
from kangshu.app.errors import SettingsError, say
from kangshu.app.messages.lane import MessageLane
from kangshu.app.platform import Platform
from kangshu.app.settings import Settings
from kangshu.intake.messages import MessageFormat


@asynccontextmanager
async def mllp_door(platform: Platform, lane: MessageLane, *, port: int) -> AsyncIterator[int]:
    """Take HL7 v2 messages over MLLP while the block runs; gives the port, a free one for 0.

    Raises:
        SettingsError: the certificate cannot be used.
        EnvironmentFaultError: the port is taken.
    """
    settings = platform.settings

    async def take(body: bytes, peer: Peer) -> bytes:
        result = await lane.take(
            body=body, format=MessageFormat.HL7V2, channel="mllp", principal=None, peer=peer.address
        )
        return result.answer

    server = await serve_mllp(
        host=settings.mllp_host,
        port=port,
        take=take,
        clock=platform.clock,
        limits=MllpLimits(
            connections=settings.mllp_connections,
            connections_per_address=max(settings.mllp_connections // 2, 1),
            idle_seconds=float(settings.mllp_idle_seconds),
        ),
        tls=tls_context(settings),
    )
    try:
        yield server.port
    finally:
        await server.close()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return TLS as the settings want it for MLLP, or None for a plain connection.

    Raises:
        SettingsError: a file is missing or is not what it should be.
    """
    if not settings.mllp_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.mllp_certificate, settings.mllp_key)
        if settings.mllp_client_authorities:
            context.load_verify_locations(settings.mllp_client_authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(say["mllp_tls_files"]) from error
    return context
