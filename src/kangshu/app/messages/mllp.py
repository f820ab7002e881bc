"""The door for HL7 v2 over MLLP: the lane behind a socket, TLS where the settings say so, and metrics."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kangshu.api.mllp import MllpCounters, MllpLimits, Peer, serve_mllp
from kangshu.app.errors import EnvironmentFaultError, SettingsError, say
from kangshu.app.messages.lane import MessageLane
from kangshu.app.platform import Platform
from kangshu.app.settings import Settings
from kangshu.intake.messages import MessageFormat

_PEER_MOST = 120


@asynccontextmanager
async def mllp_door(
    platform: Platform, lane: MessageLane, *, port: int, registry: CollectorRegistry | None = None
) -> AsyncIterator[int]:
    """Take HL7 v2 messages over MLLP while the block runs; gives the port, a free one for 0.

    What happens at the door is told by `registry` as metrics.

    Raises:
        SettingsError: the certificate cannot be used.
        EnvironmentFaultError: the port is taken.
    """
    settings = platform.settings

    async def take(body: bytes, peer: Peer) -> bytes:
        result = await lane.take(
            body=body, format=MessageFormat.HL7V2, channel="mllp", principal=None, peer=_name_of(peer)
        )
        return result.answer

    limits = MllpLimits(
        connections=settings.mllp_connections,
        # One machine that has gone wild leaves room for the others.
        connections_per_address=max(settings.mllp_connections // 2, 1),
        idle_seconds=float(settings.mllp_idle_seconds),
    )
    tls = tls_context(settings)
    try:
        server = await serve_mllp(
            host=settings.mllp_host, port=port, take=take, clock=platform.clock, limits=limits, tls=tls
        )
    except OSError as error:
        raise EnvironmentFaultError(say("port_taken", port=port), place=settings.mllp_host) from error
    collector = _Figures(server.counters)
    try:
        if registry is not None:
            registry.register(collector)
        yield server.port
    finally:
        if registry is not None:
            registry.unregister(collector)
        await server.close()


def _name_of(peer: Peer) -> str:
    """Return who a peer is: his address, and the name in his certificate where it was checked."""
    return " ".join([peer.address, *peer.names[:1]])[:_PEER_MOST]


class _Figures(Collector):
    """The door's counters, read when somebody asks."""

    def __init__(self, counters: MllpCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        yield GaugeMetricFamily("kangshu_mllp_connections", "Open connections", counters.connections)
        yield GaugeMetricFamily(
            "kangshu_mllp_held_bytes", "Bytes of messages that are not answered yet", counters.held_bytes
        )
        yield CounterMetricFamily(
            "kangshu_mllp_accepted_connections", "Connections since the start", value=counters.accepted
        )
        yield CounterMetricFamily("kangshu_mllp_received_bytes", "Received", value=counters.bytes_received)
        yield CounterMetricFamily("kangshu_mllp_frames", "Messages taken in", value=counters.frames)
        yield CounterMetricFamily("kangshu_mllp_answers", "Answers sent", value=counters.answers)
        events = CounterMetricFamily(
            "kangshu_mllp_events", "What went wrong at the door, by its kind", labels=("event",)
        )
        for event, count in sorted(counters.events.items()):
            events.add_metric([str(event)], count)
        yield events


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
