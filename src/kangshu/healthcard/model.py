"""Cards, codes, scans and use records as values; frozen and pure.

Numbers of the dictionaries (status, attribute, medium, way of applying) are those of public health card
services (城市健康卡服务): they are stored and travel as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum


class Status(IntEnum):
    """What a card is good for (卡状态)."""

    NORMAL = 1
    LOST = 2  # 挂失: its codes are refused until the loss is lifted
    CANCELLED = 3  # 注销: for good
    MADE = 4  # 制卡确认
    NOT_ISSUED = 5  # 未发卡: made in advance, waits for its holder to claim it


class Attribute(IntEnum):
    """Whether a card lasts (卡属性)."""

    TEMPORARY = 1
    FORMAL = 2


class Medium(IntEnum):
    """What a card is (卡介质)."""

    ELECTRONIC = 0
    PHYSICAL = 1


class Way(IntEnum):
    """How a card was applied for (申请方式)."""

    ONLINE = 1
    MACHINE = 2
    WINDOW = 3
    BATCH = 4  # 批量预生成: not issued until claimed in one of the other ways


class CodeKind(StrEnum):
    """What a code shows."""

    STATIC = "static"  # the card id and its suffix: printed, lasts as long as the card
    DYNAMIC = "dynamic"  # encrypted with an end: minutes
    SIGNED = "signed"  # readable and signed with SM2: can be checked where there is no network


class Refusal(StrEnum):
    """Why a code is not accepted; `told_as` is what its bearer may learn."""

    UNREADABLE = "unreadable"  # of no form that we know
    UNKNOWN = "unknown"  # altered, of another region, or of no card: these cannot be told apart
    EXPIRED = "expired"
    REPLAYED = "replayed"  # another terminal has had this code
    STATIC_REFUSED = "static-refused"  # a printed code, where the scene takes dynamic ones only
    LOST = "lost"
    CANCELLED = "cancelled"
    NOT_ISSUED = "not-issued"
    CARD_EXPIRED = "card-expired"  # a temporary card that never became formal

    @property
    def told_as(self) -> str:
        """The answer that gives nothing away about cards which the asker cannot prove to hold."""
        if self in (Refusal.EXPIRED, Refusal.REPLAYED, Refusal.STATIC_REFUSED):
            return "expired" if self is not Refusal.STATIC_REFUSED else "dynamic-needed"
        return "not-valid" if self in (Refusal.UNREADABLE, Refusal.UNKNOWN) else "not-usable"


class EventKind(StrEnum):
    """What happened to a card."""

    REGISTERED = "registered"
    CLAIMED = "claimed"
    FORMAL = "formal"  # a temporary card gave way to a formal one
    LOSS_REPORTED = "loss-reported"
    LOSS_LIFTED = "loss-lifted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PHONE_CHANGED = "phone-changed"
    FAMILY_ADDED = "family-added"
    FAMILY_ENDED = "family-ended"
    BOUND = "bound"
    UNBOUND = "unbound"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks: for the audit, and for what may be shown.

    `institution` is the code of the institution on whose behalf he asks, None for the resident himself and
    the centre. `role` names one of the declared views (`[[view]]` in healthcard.toml).
    """

    actor: str
    actor_name: str
    institution: str | None = None
    terminal: str = ""
    role: str = "terminal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """What somebody tells who wants a card; numbers as written, codes of the pack's tables.

    `document_number` may be missing for a temporary card only; it then stands for the `local_number` that
    the institution gave. `guardian` is the card of the one who answers for a minor, `relation` what the
    guardian is to the minor (GB/T 4761). `checked` says that the face or the document was compared.
    """

    name: str = field(repr=False)
    document_type: str | None = None
    document_number: str | None = field(default=None, repr=False)
    local_number: str | None = field(default=None, repr=False)
    sex: str | None = None
    birth_date: date | None = field(default=None, repr=False)
    nation: str | None = None
    phone: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)
    way: Way = Way.ONLINE
    medium: Medium = Medium.ELECTRONIC
    temporary: bool = False
    guardian: int | None = None
    relation: str | None = None
    checked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Whose card it is, in clear text: what is shown is the door's decision, never the full number."""

    name: str = field(repr=False)
    document_type: str | None
    document_number: str | None = field(repr=False)
    sex: str | None = None
    birth_date: date | None = field(default=None, repr=False)
    nation: str | None = None
    phone: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One card. `person` is whom it means now, after all merges; `active` the card that stands for him.

    `card_id` (电子健康卡ID) and `index_id` (主索引ID) are 64 hexadecimal digits each. Where the person was
    merged with others who hold cards, `active` is the one of them that stays; its index id counts.
    """

    id: int
    person: int
    active: int | None
    holder: Holder = field(repr=False)
    card_id: str = field(repr=False)
    index_id: str = field(repr=False)
    status: Status
    attribute: Attribute
    medium: Medium
    way: Way
    institution: str | None
    registered_at: datetime
    claimed_at: datetime | None
    valid_until: datetime | None
    guardian: int | None
    successor: int | None
    """The formal card that a temporary one became."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """What an application came to: `new` if the card was made now, `claimed` if it had been made before."""

    card: Card
    new: bool
    claimed: bool


class RowProblem(StrEnum):
    """Why a row of a batch has no card."""

    NAME_MISSING = "name-missing"
    DOCUMENT_UNREADABLE = "document-unreadable"
    FIELD_WRONG = "field-wrong"
    HOLDER_DIFFERS = "holder-differs"  # the document has a card under another name
    PERSON_UNKNOWN = "person-unknown"  # too little to know who it is


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What became of a batch: a card for each row, None where `problems` says why; rows count from 0."""

    cards: tuple[int | None, ...]
    created: int
    existing: int
    problems: Mapping[int, RowProblem]


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """One code to be shown; `expires_at` is None where it lasts as long as the card."""

    card: int
    kind: CodeKind
    text: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OfflineCode:
    """What a signed code says by itself: whose card and until when; nothing of the card's present status."""

    card_id: str = field(repr=False)
    temporary: bool
    expires_at: datetime
    expired: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRequest:
    """One code read at one place. `scene` is a key of the declared scenes (register, consult, pay ...)."""

    text: str = field(repr=False)
    scene: str
    caller: Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class HolderView:
    """The least that the caller's role needs; None: not for this role. Masked texts are masked already."""

    name: str | None = field(default=None, repr=False)
    sex: str | None = None
    birth_date: str | None = field(default=None, repr=False)
    document_type: str | None = None
    document_number: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    nation: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What a scan came to. With a `refusal` there is no view, and `card` only where the code was genuine.

    `card` is the card of the code, `active` the one that stands for its person after merges; `index_id` and
    `card_id` are those of the active one. `repeated` says that this terminal had this code before.
    """

    at: datetime
    scene: str
    refusal: Refusal | None = None
    card: int | None = None
    active: int | None = None
    person: int | None = None
    card_id: str | None = field(default=None, repr=False)
    index_id: str | None = field(default=None, repr=False)
    attribute: Attribute | None = None
    view: HolderView | None = field(default=None, repr=False)
    repeated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """Another code of the same holder: of the insurance, the social security, an app, an institution."""

    id: int
    card: int
    system: str
    issuer: str
    masked: str
    bound_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeScreen:
    """One code on one screen: the card's own, and what else it stands for."""

    card: Card
    code: Code
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One use record (用卡记录) as an institution tells it.

    The card is told by `card` (our number), `card_id` or `code`, one of them. `medium` is the code by which
    the patient was known (11: the electronic card; anything else counts as off-card).
    """

    scene: str
    used_at: datetime
    card: int | None = None
    card_id: str | None = field(default=None, repr=False)
    code: str | None = field(default=None, repr=False)
    order_number: str | None = field(default=None, repr=False)
    department: str | None = None
    terminal: str | None = None
    terminal_type: str | None = None
    medium: str = "11"
    channel: str | None = None
    cost_type: str | None = None
    visit_type: str | None = None


class UseOutcome(StrEnum):
    """What became of a use record."""

    STORED = "stored"
    KNOWN = "known"  # told before: nothing changed
    CARD_UNKNOWN = "card-unknown"
    SCENE_UNKNOWN = "scene-unknown"
    CODE_UNKNOWN = "code-unknown"  # a code of one of the dictionaries is not in it, or is too long
    TIME_IMPOSSIBLE = "time-impossible"  # in the future, or before the card


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredUse:
    """A use record as the platform holds it; `off_card` says that the patient was known by something else."""

    card: int
    used_at: datetime
    told_at: datetime
    off_card: bool
    institution: str
    scene: str
    medium: str
    department: str | None
    terminal: str | None
    terminal_type: str | None
    channel: str | None
    cost_type: str | None
    visit_type: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyMember:
    """A card that another holder may show: a child's, a parent's (亲属卡)."""

    card: int
    member: int
    relation: str
    guardian: bool
    since: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CardEvent:
    """One thing that happened to a card."""

    card: int
    at: datetime
    kind: EventKind
    actor: str
    institution: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HomeRegion:
    """Where an index id is at home (跨省查询); `region` is None where nobody told."""

    region: str | None
    here: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How many of the declared scenes one institution has used the card in."""

    institution: str
    scenes: tuple[str, ...]
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DayUse:
    """Use records of one day of the region, institution and scene; `off_card` of them without the card."""

    day: date
    institution: str
    scene: str
    uses: int
    off_card: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What the dashboard shows of a period; rates are None where nothing was counted.

    `by_status`, `by_attribute`, `by_way` and the rates about cards speak of all cards there are at the end
    of asking; `issued` of the period (claimed or made by hand in it), everything else of the period too.
    """

    since: datetime
    until: datetime
    cards: int
    issued: int
    by_status: Mapping[Status, int]
    by_attribute: Mapping[Attribute, int]
    by_way: Mapping[Way, int]
    issued_by_day: tuple[tuple[date, int], ...]
    uses: tuple[DayUse, ...]
    coverage: tuple[Coverage, ...]
    use_count: int
    off_card_rate: float | None
    fused_cards: int
    fusion_rate: float | None
    """Cards in force with at least one other code bound to them / cards in force."""
    claim_rate: float | None
    """Cards that their holder has claimed or applied for / all cards that are not cancelled."""
    family_members: int
    scans: int
    refused_scans: Mapping[Refusal, int]
    scans_by_institution: Mapping[str, tuple[int, int]]
    """Institution -> (scans, of which refused)."""
