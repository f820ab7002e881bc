"""What the states and kinds of cards are called."""

from __future__ import annotations

from kangshu.healthcard.model import Attribute, Medium, Refusal, Status, Way
from kangshu.kernel.texts import Text, load_catalogue

say = load_catalogue(__package__ or __name__)


def status_title(status: Status) -> Text:
    """Return what the status is called."""
    return say[f"status_{int(status)}"]


def attribute_title(attribute: Attribute) -> Text:
    """Return what the attribute is called."""
    return say[f"attribute_{int(attribute)}"]


def medium_title(medium: Medium) -> Text:
    """Return what the medium is called."""
    return say[f"medium_{int(medium)}"]


def way_title(way: Way) -> Text:
    """Return what the way of applying is called."""
    return say[f"way_{int(way)}"]


def refusal_title(refusal: Refusal) -> Text:
    """Return why a code was refused, for staff and the dashboard; bearers are told `Refusal.told_as`."""
    return say[f"refusal_{refusal.value.replace('-', '_')}"]
