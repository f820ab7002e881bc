"""Who holds a number that a subject tells? The rule about numbers decides before any weight does."""

from __future__ import annotations

from dataclasses import dataclass

from kangshu.identity import store
from kangshu.identity.linkage import (
    Account,
    LinkageModel,
    Registration,
    Verdict,
    default_model,
    prepare_one,
    score,
)
from kangshu.identity.matching import registration_of
from kangshu.identity.model import Candidate, IdentifierKind
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.identity.searching import describe_persons
from kangshu.identity.subjects import Told, display_name, name_key_of, read_subject
from kangshu.mapping import Subject
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many
from kangshu.storage.database import Connection

# Both arbitrary: a message tells few numbers, and a number that many hold names nobody.
_NUMBERS_MOST = 16
_HOLDERS_MOST = 8
_EPOCH = 719_163  # 1970-01-01 as an ordinal


@dataclass(frozen=True, kw_only=True)
class HolderMatch:
    """A person who holds a number that the subject tells.

    `same` is whether a record that told this would be linked to the person by the rule about numbers; else
    name and birth date, or another number, contradict. `account` is what the weights say of the two.
    """

    person: int
    same: bool
    account: Account


async def match_holders(
    connection: Connection, *, keys: Keys, subject: Subject, model: LinkageModel | None = None
) -> list[HolderMatch]:
    """Return who holds the subject's numbers, by the strongest number first; nothing is stored.

    Where several hold a number, the first who holds it undisputed comes first. Without any number, those are
    meant who came with the same name, birth date and sex from the same institution.
    """
    told = read_subject(subject)
    texts = [one.text for one in told.identifiers[:_NUMBERS_MOST]]
    holders: dict[int, None] = {}
    for digest in digest_many(keys.lookup_key, texts):
        rows = await store.find_holders_of(connection, digest=digest)
        holders |= dict.fromkeys(row["survivor"] for row in rows[:_HOLDERS_MOST])
    candidates = await describe_persons(connection, keys=keys, persons=list(holders))
    model = model or default_model()
    asked = prepare_one(registration_of(subject))
    found: list[HolderMatch] = []
    for candidate in candidates:
        account = score(model, asked, prepare_one(_registration(candidate, subject)))
        same = not _contradicts(told, candidate) and not _is_vetoed(model, account)
        found.append(HolderMatch(person=candidate.person.id, same=same, account=account))
    return found


def _contradicts(told: Told, candidate: Candidate) -> bool:
    """Return whether name or birth date is told otherwise than known, and neither agrees."""
    person = candidate.person
    known_name = name_key_of(display_name(person.name))
    known_birth = None if person.birth_date is None else person.birth_date.toordinal() - _EPOCH
    agreements: list[bool] = []
    if told.name_key and known_name:
        agreements.append(told.name_key == known_name)
    if told.birth != UNKNOWN_DAY and known_birth is not None:
        agreements.append(told.birth == known_birth)
    return bool(agreements) and not any(agreements)


def _is_vetoed(model: LinkageModel, account: Account) -> bool:
    vetoes = {guard.name for guard in model.guards if guard.verdict is Verdict.DIFFERENT}
    return not vetoes.isdisjoint(account.guards)


def _registration(candidate: Candidate, subject: Subject) -> Registration:
    """Return what is known of a person as a record; of its local numbers the one of the subject's issuer."""
    person = candidate.person
    asked = registration_of(subject)
    local = next(
        (
            one.value
            for one in candidate.identifiers
            if one.kind is IdentifierKind.LOCAL_NUMBER and one.issuer == asked.institution
        ),
        None,
    )
    document = next((one for one in candidate.identifiers if one.kind is IdentifierKind.DOCUMENT), None)
    return Registration(
        name=person.name,
        sex=person.sex,
        birth_date=person.birth_date,
        resident_number=person.resident_number,
        document_type=document.issuer if document else None,
        document_number=document.value if document else None,
        phone=person.phone,
        institution=asked.institution if local else None,
        local_number=local,
    )
