"""The health card interface: signed calls, and every attack on them; everybody in it is synthetic."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta

import pytest
from card_machine import PEOPLE, CardMachine, application
from console_world import HOSPITAL, SECOND_HOSPITAL, Site

from kangshu.api.cards.acts import OPERATIONS
from kangshu.api.cards.limits import Buckets
from kangshu.api.cards.policy import FAILED_SIGNATURES_PER_MINUTE, MISSES_BURST
from kangshu.audit import list_entries
from kangshu.healthcard import verify_offline
from kangshu.identity import merge_persons
from kangshu.security.signing_keys import retire_signing_key
from kangshu.storage.errors import DatabaseUnavailableError

pytestmark = pytest.mark.database

WRONG_ID = "AB" * 32


async def refusals(site: Site, action: str) -> list[str]:
    async with site.platform.database.connection() as connection:
        found = await list_entries(connection, action=action)
    return [str(entry.detail.get("refused_for")) for entry in found if entry.outcome == "refused"]


def test_a_card_is_issued_shown_and_scanned_and_the_answer_is_masked(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        person = PEOPLE[0]

        card = await machine.register(person)
        again = await machine.register(person)
        code = await machine.call("dynamic-code", healthCardId=card["healthCardId"], picture="svg")
        scan = await machine.call("scan", qrCodeText=code.json()["qrCodeText"], scene="register")

        assert card["new"]
        assert not again["new"]
        assert again["healthCardId"] == card["healthCardId"]
        assert "<svg" in code.json()["svg"]
        assert code.json()["expiry"] > code.json()["issuedAt"]
        assert scan.json()["healthCardId"] == card["healthCardId"]
        assert person.number not in scan.text
        assert person.name not in scan.text
        assert scan.json()["idNumber"].endswith(person.number[-4:])

    site_run(scenario)


def test_a_machine_may_sign_with_sm2(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site, sm2=True)

        answer = await machine.call("echo", text="hello")

        assert answer.json()["institution"] == HOSPITAL
        assert answer.json()["procedure"] == "sm2"

    site_run(scenario)


def test_a_replayed_request_is_refused_also_when_the_first_was_refused_and_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        for body, status in ((b'{"text":"x"}', 200), (b"{", 422)):
            headers = machine.headers("/cards/echo", body)

            first = await machine.send("echo", body, headers=headers)
            second = await machine.send("echo", body, headers=headers)

            assert first.status_code == status
            assert second.status_code == 401
            assert second.json()["error"] == "replay"
        assert await refusals(site, "card.signature") == ["replay", "replay"]

    site_run(scenario)


def test_of_many_copies_of_one_request_at_once_one_is_carried_out(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        headers = machine.headers("/cards/echo", b"{}")

        answers = await asyncio.gather(*(machine.send("echo", b"{}", headers=headers) for _ in range(20)))

        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19

    site_run(scenario)


def test_a_changed_body_or_path_or_a_header_of_another_request_does_not_pass(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        headers = machine.headers("/cards/echo", b'{"text":"a"}')

        changed = await machine.send("echo", b'{"text":"b"}', headers=headers)
        elsewhere = await machine.send("show", b'{"text":"a"}', headers=headers)
        with_query = await machine.http.post("/cards/echo?x=1", content=b'{"text":"a"}', headers=headers)
        other_nonce = await machine.send(
            "echo", b'{"text":"a"}', headers={**headers, "X-Kangshu-Nonce": "n" * 20}
        )

        for answer in (changed, elsewhere, with_query, other_nonce):
            assert answer.status_code == 401
            assert answer.json()["error"] == "signature"
            assert answer.headers["content-type"] == "application/problem+json"

    site_run(scenario)


def test_an_unknown_key_and_a_wrong_signature_are_answered_alike(site_run):
    async def scenario(site: Site) -> None:
        machine, other = await CardMachine.of(site), await CardMachine.of(site)

        wrong = await machine.send(
            "echo", b"{}", headers=other.headers("/cards/echo", b"{}", key=machine.key)
        )
        unknown = await machine.send(
            "echo", b"{}", headers=machine.headers("/cards/echo", b"{}", key="ks-" + "0" * 16)
        )

        assert wrong.status_code == unknown.status_code == 401
        assert wrong.content == unknown.content

    site_run(scenario)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_request_of_another_time_is_refused(site_run, minutes):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        moment = site.clock.moment + timedelta(minutes=minutes)
        headers = machine.headers("/cards/echo", b"{}", time=str(int(moment.timestamp() * 1000)))

        answer = await machine.send("echo", b"{}", headers=headers)

        assert answer.status_code == 401
        assert answer.json()["error"] == "time"

    site_run(scenario)


def test_a_request_without_a_signature_is_told_which_header_is_missing(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)

        answer = await machine.send("echo", b"{}", headers={"X-Kangshu-Key": machine.key})

        assert answer.status_code == 401
        assert answer.json()["place"] == "x-kangshu-time"

    site_run(scenario)


def test_a_withdrawn_key_signs_nothing_any_more(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        async with site.platform.database.transaction() as connection:
            await retire_signing_key(connection, key_id=machine.key)

        assert (await machine.call("echo")).status_code == 401

    site_run(scenario)


def test_from_where_too_many_signatures_fail_nothing_is_looked_at_for_a_while(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        headers = machine.headers("/cards/echo", b"{}")
        for _ in range(int(FAILED_SIGNATURES_PER_MINUTE)):
            assert (await machine.send("echo", b"other", headers=headers)).status_code == 401

        assert (await machine.call("echo")).status_code == 429

    site_run(scenario)


def test_a_machine_of_one_institution_cannot_act_for_another_and_the_attempt_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        card = await machine.register(PEOPLE[0])
        row = {"scene": "register", "usedAt": site.clock.moment.isoformat()}

        answer = await machine.call(
            "uses",
            institution=SECOND_HOSPITAL,
            list=[{**row, "healthCardId": card["healthCardId"]}],
        )
        own = await machine.call(
            "uses", institution=HOSPITAL, list=[{**row, "healthCardId": card["healthCardId"]}]
        )

        assert answer.status_code == 403
        assert answer.json()["place"] == "institution"
        assert own.json()["stored"] == 1
        assert await refusals(site, "card.call") == ["institution"]

    site_run(scenario)


def test_a_key_without_the_scope_is_refused_and_that_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site, scopes=["cards.use"])

        answers = [
            await machine.call("register", **application(PEOPLE[0])),
            await machine.call("dynamic-code", healthCardId=WRONG_ID),
        ]

        assert [answer.status_code for answer in answers] == [403, 403]
        assert await refusals(site, "card.call") == ["scope", "scope"]

    site_run(scenario)


def test_guessing_gets_one_answer_and_soon_none_for_the_whole_institution(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        sibling, stranger = (
            await CardMachine.of(site),
            await CardMachine.of(site, institution=SECOND_HOSPITAL),
        )
        person = PEOPLE[0]
        card = await machine.register(person)
        known = {"idType": "01", "idNumber": person.number}

        answers = [
            await machine.call("show", healthCardId=WRONG_ID),
            await machine.call("dynamic-code", healthCardId=WRONG_ID),
            await machine.call("scan", qrCodeText="no code at all", scene="register"),
            await machine.call("scan", qrCodeText=f"{WRONG_ID}:1", scene="register"),
            await machine.call("find", **known, name="错名字"),
            await machine.call("find", idType="01", idNumber=PEOPLE[1].number, name=PEOPLE[1].name),
            await machine.call("resolve", system="insurance", issuer="", number="C1"),
            await machine.call("register", **{**application(person), "name": "错名字"}),
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
        for _ in range(int(MISSES_BURST) - len(answers)):
            assert (await machine.call("show", healthCardId=WRONG_ID)).status_code == 404

        assert (await machine.call("show", healthCardId=card["healthCardId"])).status_code == 429
        assert (await sibling.call("find", **known, name=person.name)).status_code == 429
        assert (await stranger.call("find", **known, name=person.name)).status_code == 200

    site_run(scenario)


def test_a_dynamic_code_is_refused_when_it_is_over_or_was_used_elsewhere(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        other = await CardMachine.of(site, institution=SECOND_HOSPITAL)
        card = (await machine.register(PEOPLE[0]))["healthCardId"]
        code, late = await machine.code(card), await machine.code(card)

        first = await machine.call("scan", qrCodeText=code, scene="register", terminal="W1")
        same = await machine.call("scan", qrCodeText=code, scene="pay", terminal="W1")
        elsewhere = await other.call("scan", qrCodeText=code, scene="register", terminal="W1")
        site.clock.moment += timedelta(minutes=6)
        over = await machine.call("scan", qrCodeText=late, scene="register", terminal="W1")

        assert first.status_code == same.status_code == 200
        assert same.json()["repeated"]
        assert [(answer.status_code, answer.json()["error"]) for answer in (elsewhere, over)] == [
            (409, "expired"),
            (409, "expired"),
        ]

    site_run(scenario)


def test_an_altered_code_is_no_code(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        code = await machine.code((await machine.register(PEOPLE[0]))["healthCardId"])
        altered = code[:-6] + ("0" if code[-6] != "0" else "1") + code[-5:]

        assert (await machine.call("scan", qrCodeText=altered, scene="register")).status_code == 404

    site_run(scenario)


def test_codes_of_a_lost_and_of_a_cancelled_card_are_refused(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        card = (await machine.register(PEOPLE[0]))["healthCardId"]
        code = await machine.code(card)

        async def scanned() -> tuple[int, str]:
            answer = await machine.call("scan", qrCodeText=code, scene="register")
            return answer.status_code, answer.json().get("error", "")

        await machine.call("loss", healthCardId=card, reason="遗失")
        lost = await scanned()
        await machine.call("loss/lift", healthCardId=card)
        found = await scanned()
        await machine.call("cancel", healthCardId=card, reason="本人申请")
        cancelled = await scanned()

        assert lost == cancelled == (409, "not-usable")
        assert found[0] == 200

    site_run(scenario)


def test_of_two_registrations_at_once_one_makes_the_card_and_both_get_it(site_run):
    async def scenario(site: Site) -> None:
        machines = [
            await CardMachine.of(site),
            await CardMachine.of(site, institution=SECOND_HOSPITAL),
        ]
        person = PEOPLE[0]

        answers = await asyncio.gather(*(machine.register(person) for machine in machines for _ in range(4)))

        assert len({answer["healthCardId"] for answer in answers}) == 1
        assert sum(answer["new"] for answer in answers) == 1

    site_run(scenario)


def test_a_merge_while_scans_are_under_way_leaves_every_answer_whole(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        one, other = PEOPLE[0], PEOPLE[1]
        cards = [(await machine.register(person))["healthCardId"] for person in (one, other)]
        codes = [await machine.code(card) for card in cards for _ in range(10)]
        async with site.platform.database.connection() as connection:
            persons = [
                row["person"] for row in await connection.fetch("SELECT * FROM healthcard_card ORDER BY id")
            ]

        async def merge() -> None:
            async with site.platform.database.transaction() as connection:
                await merge_persons(
                    connection,
                    survivor=persons[0],
                    absorbed=persons[1],
                    actor="staff:centre",
                    reason="tests",
                    now=site.clock.moment,
                )

        scans = [machine.call("scan", qrCodeText=code, scene="register", terminal="W1") for code in codes]
        answers = await asyncio.gather(*scans[:10], merge(), *scans[10:])
        after = [
            await machine.call("scan", qrCodeText=await machine.code(card), scene="register", terminal="W1")
            for card in cards
        ]

        assert {answer.status_code for answer in answers if answer is not None} == {200}
        assert len({answer.json()["mindex"] for answer in after}) == 1

    site_run(scenario)


def test_uses_told_twice_are_stored_once_and_bad_rows_are_named_by_number(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        card = (await machine.register(PEOPLE[0]))["healthCardId"]
        row = {
            "healthCardId": card,
            "scene": "register",
            "usedAt": site.clock.moment.isoformat(),
            "orderNumber": "R1",
        }
        rows = [row, {**row, "scene": "pay"}, {**row, "healthCardId": WRONG_ID}, {**row, "scene": "nowhere"}]

        first = (await machine.call("uses", list=rows)).json()
        again = (await machine.call("uses", list=rows[:2])).json()

        assert (first["stored"], first["known"]) == (2, 0)
        assert first["problems"] == [
            {"row": 2, "reason": "card-unknown"},
            {"row": 3, "reason": "scene-unknown"},
        ]
        assert (again["stored"], again["known"]) == (0, 2)

    site_run(scenario)


def test_a_batch_makes_cards_in_advance_that_their_holders_claim(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        rows = [{**application(person), "applyType": 4} for person in PEOPLE]

        first = (await machine.call("register-batch", list=rows)).json()
        again = (await machine.call("register-batch", list=rows)).json()
        claimed = await machine.register(PEOPLE[3])

        assert (first["created"], first["existing"]) == (len(PEOPLE), 0)
        assert (again["created"], again["existing"]) == (0, len(PEOPLE))
        assert claimed["claimed"]
        assert claimed["status"] == 1

    site_run(scenario)


def test_other_codes_are_bound_resolved_and_shown_on_one_screen(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        one, other = [(await machine.register(person))["healthCardId"] for person in PEOPLE[:2]]
        code = {"system": "insurance", "issuer": "990100", "number": "C99010000001"}

        bound = await machine.call("bind", healthCardId=one, **code)
        taken = await machine.call("bind", healthCardId=other, **code)
        resolved = await machine.call("resolve", **code)
        screen = await machine.call("screen", healthCardId=one)

        assert bound.status_code == 200
        assert taken.status_code == 409
        assert resolved.json()["healthCardId"] == one
        assert [binding["system"] for binding in screen.json()["bindings"]] == ["insurance"]
        assert code["number"] not in bound.text + resolved.text + screen.text

    site_run(scenario)


def test_a_signed_code_can_be_checked_offline_with_the_published_keys(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        card = (await machine.register(PEOPLE[0]))["healthCardId"]
        text = await machine.code(card, kind="signed")

        keys = (await machine.http.get("/cards/keys")).json()["sm2"]
        told = verify_offline(
            public_keys=[bytes.fromhex(key) for key in keys], text=text, now=site.clock.moment
        )

        assert told is not None
        assert told.card_id == card
        assert (await machine.call("scan", qrCodeText=text, scene="register")).status_code == 200

    site_run(scenario)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b'{"name":"\\u0000"}', None),
        (b'{"idType":"01"}', "name"),
        (b'{"name":17}', "name"),
        (b'{"name":"x","birthday":"1990-13-01"}', "birthday"),
        (b'{"name":"x","applyType":9}', "applyType"),
        (b'{"name":"x","secretMember":"990101199003070014"}', None),
        (b'{"name":' + b"[" * 2000 + b"]" * 2000 + b"}", "name"),
    ],
)
def test_a_body_of_another_form_is_refused_with_its_place_and_never_its_value(site_run, body, place):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)

        answer = await machine.send("register", body)

        assert answer.status_code == 422
        assert answer.json().get("place") == place
        assert "990101" not in answer.text
        assert "secretMember" not in answer.text

    site_run(scenario)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)

        assert (await machine.send("register", b" " * (2 << 20))).status_code == 413

    site_run(scenario)


def test_without_a_database_no_request_is_carried_out(site_run, monkeypatch):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        assert (await machine.call("echo")).status_code == 200

        def away(*_: object, **__: object) -> object:
            raise DatabaseUnavailableError(_TEXT)

        monkeypatch.setattr(site.platform.database, "connection", away)

        assert (await machine.call("echo")).status_code == 503

    from kangshu.kernel.texts import Text

    _TEXT = Text(zh="数据库不可用", en="the database is away")  # noqa: N806 - a constant of this test
    site_run(scenario)


def test_no_answer_and_no_log_line_carries_a_full_number_or_a_name(site_run, capfd, caplog):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        person = PEOPLE[0]
        card = (await machine.register(person))["healthCardId"]
        answers = [
            await machine.call("register", **{**application(person), "name": "错名字"}),
            await machine.call("show", healthCardId=card),
            await machine.call("find", idType="01", idNumber=person.number, name=person.name),
            await machine.call("phone", healthCardId=card, phone=person.phone),
            await machine.call("screen", healthCardId=card),
            await machine.send("register", json.dumps(application(person))[:-1].encode()),
            await machine.call("register", **{**application(person), "birthday": "not a day"}),
        ]
        for answer in answers:
            assert person.number not in answer.text
            assert person.phone not in answer.text
        for role in ("terminal", "pharmacy", "nobody"):
            shown = await machine.call("show", healthCardId=card, role=role)
            assert person.name not in shown.text
        out, err = capfd.readouterr()
        for secret in (person.number, person.name, person.phone):
            assert secret not in out + err + caplog.text
        async with site.platform.database.connection() as connection:
            for entry in await list_entries(connection, limit=500):
                assert person.number not in repr(entry)
                assert person.name not in repr(entry)

    site_run(scenario)


def test_only_what_is_listed_is_there_and_each_is_described(site_run):
    async def scenario(site: Site) -> None:
        machine = await CardMachine.of(site)
        schema = (await machine.http.get("/openapi.json")).json()
        docs = (await machine.http.get("/docs")).text

        assert (await machine.http.post("/cards/nothing")).status_code == 404
        assert (await machine.http.get("/cards/scan")).status_code == 405
        for operation in OPERATIONS:
            described = schema["paths"][f"/cards{operation.path}"]["post"]
            shape = described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert shape.rsplit("/", 1)[-1] in schema["components"]["schemas"]
            assert len(described["parameters"]) == 4
            assert f"/cards{operation.path}" in docs
            assert re.search(r"[A-Z]", described["summary"])

    site_run(scenario)


def test_buckets_fill_again_and_are_bounded():
    moment = 0.0
    buckets = Buckets(rate=1.0, burst=2.0, most=3, clock=lambda: moment)

    assert [buckets.take("a"), buckets.take("a"), buckets.take("a")] == [True, True, False]
    moment = 1.5
    assert buckets.has("a")
    assert buckets.take("a")
    assert not buckets.take("a")
    for name in "bcdef":
        buckets.take(name)
    assert len(buckets) == 3
