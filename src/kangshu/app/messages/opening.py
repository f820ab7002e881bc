"""The message lane of an open platform."""

from __future__ import annotations

from pathlib import Path

from kangshu.app.messages.lane import MessageLane, open_tools
from kangshu.app.messages.model import Arrival
from kangshu.app.platform import Platform
from kangshu.security.principals import Permission


def open_lane(platform: Platform) -> MessageLane:
    """Return the lane of this process; there is one for all of its doors.

    Raises:
        DeclarationError: a mapping of the pack is declared wrongly.
    """
    settings = platform.settings
    tools = open_tools(
        pack=platform.pack,
        folder=Path(settings.pack) if settings.pack else None,
        keys=platform.keys,
        clock=platform.clock,
        linkage=platform.linkage,
    )
    trusted = settings.mllp_queries or bool(settings.mllp_client_authorities)

    def may_query(arrival: Arrival) -> bool:
        if arrival.principal is not None:
            return arrival.principal.may(Permission.FIND_PERSONS)
        return arrival.channel == "mllp" and trusted

    return MessageLane(platform.database, tools, may_query=may_query)
