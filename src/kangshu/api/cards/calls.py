"""The calls of the health card interface as shapes: checked on the way in, described in `/docs`.

Names are those of public health card services (registerHealthCard, getDynamicQRCode, reportHISData ...).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct, field

ShortText = Annotated[str, Meta(min_length=1, max_length=40)]
Line = Annotated[str, Meta(min_length=1, max_length=200)]
Number = Annotated[str, Meta(min_length=1, max_length=40)]
CardId = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$")]
IndexId = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$")]
CodeText = Annotated[str, Meta(min_length=1, max_length=600)]


class Call(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What every call may say: on whose behalf, and for which declared role (terminal, window, ...).

    The institution must be the one whose key signed; the role decides how much of a holder is shown.
    """

    institution: str | None = None
    terminal: ShortText | None = None
    role: ShortText = "terminal"


class RegisterCall(Call):
    """registerHealthCard: apply for a card; the same document always gets the same card."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    id_type: Annotated[str, Meta(max_length=4)] | None = None
    id_number: Number | None = None
    local_number: Number | None = None
    sex: Annotated[str, Meta(max_length=4)] | None = None
    birthday: date | None = None
    nation: Annotated[str, Meta(max_length=4)] | None = None
    phone: Annotated[str, Meta(max_length=40)] | None = None
    address: Line | None = None
    apply_type: Annotated[int, Meta(ge=1, le=4)] = 1
    temporary: bool = False
    guardian_card_id: CardId | None = None
    relation: Annotated[str, Meta(max_length=4)] | None = None
    checked: bool = False


class RegisterBatchCall(Call):
    """registerBatchHealthCard: make cards in advance, for their holders to claim."""

    rows: Annotated[list[RegisterCall], Meta(min_length=1, max_length=5000)] = field(name="list")


class CardCall(Call):
    """A call about one card."""

    health_card_id: CardId


class CodeCall(Call):
    """getDynamicQRCode: a code of a card, to be shown."""

    health_card_id: CardId
    kind: Annotated[str, Meta(pattern="^(static|dynamic|signed)$")] = "dynamic"
    picture: Annotated[str, Meta(pattern="^(none|svg|png)$")] = "none"


class ScanCall(Call):
    """getHealthCardByQRCode: a code was read, in a scene of the visit."""

    qr_code_text: CodeText
    scene: ShortText


class FindCall(Call):
    """Whether somebody has a card: document and name must both fit."""

    id_type: Annotated[str, Meta(max_length=4)]
    id_number: Number
    name: Annotated[str, Meta(min_length=1, max_length=100)]


class BindCall(Call):
    """bindCardRelation: another code of the holder (insurance, social security, app, patient number)."""

    health_card_id: CardId
    system: ShortText
    number: Annotated[str, Meta(min_length=1, max_length=200)]
    issuer: Annotated[str, Meta(max_length=40)] = ""


class ResolveCall(Call):
    """Which card a bound code of another system stands for."""

    system: ShortText
    number: Annotated[str, Meta(min_length=1, max_length=200)]
    issuer: Annotated[str, Meta(max_length=40)] = ""


class UseRow(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One use of a card."""

    scene: ShortText
    used_at: Annotated[datetime, Meta(tz=True)]
    health_card_id: CardId | None = None
    qr_code_text: CodeText | None = None
    order_number: Annotated[str, Meta(max_length=64)] | None = None
    department: Annotated[str, Meta(max_length=40)] | None = None
    terminal: Annotated[str, Meta(max_length=40)] | None = None
    terminal_type: Annotated[str, Meta(max_length=8)] | None = None
    medium: Annotated[str, Meta(max_length=8)] = "11"
    channel: Annotated[str, Meta(max_length=8)] | None = None
    cost_type: Annotated[str, Meta(max_length=8)] | None = None
    visit_type: Annotated[str, Meta(max_length=8)] | None = None


class UsesCall(Call):
    """reportHISData: uses of cards, one or many; told again they change nothing."""

    rows: Annotated[list[UseRow], Meta(min_length=1, max_length=5000)] = field(name="list")


class ReasonCall(Call):
    """Report a loss, lift it, or cancel a card."""

    health_card_id: CardId
    reason: Annotated[str, Meta(max_length=200)] = ""


class PhoneCall(Call):
    """Tell a new phone number."""

    health_card_id: CardId
    phone: Annotated[str, Meta(min_length=5, max_length=40)]


class FamilyCall(Call):
    """Let a holder show the card of a relative."""

    health_card_id: CardId
    member_card_id: CardId
    relation: Annotated[str, Meta(min_length=1, max_length=4)]
    guardian: bool = False


class RegionCall(Call):
    """Cross-region query: where an index id is at home."""

    mindex: IndexId


class EchoCall(Call):
    """Self-test: nothing happens but that the signature is checked."""

    text: Annotated[str, Meta(max_length=200)] = ""
