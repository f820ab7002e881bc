"""The doors for machines: tokens, files in, receipts out; every error a problem that names no value."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import date, timedelta

import httpx
import pytest
from console_world import (
    HOSPITAL,
    PASSWORD,
    SECOND_HOSPITAL,
    Site,
    csv_bytes,
    lab_rows,
    residents,
    send,
    visit_rows,
)

from kangshu.audit import list_entries
from kangshu.kernel.texts import Text
from kangshu.security.operations import create_client
from kangshu.storage.errors import DatabaseUnavailableError

pytestmark = pytest.mark.database

FILE = csv_bytes(visit_rows(residents(5), institution=HOSPITAL, day=date(2026, 3, 16)))
WRONG = csv_bytes(
    lab_rows(residents(5), institution=HOSPITAL, day=date(2026, 3, 16), wrong_every=6), encoding="gb18030"
)


class Machine:
    """A program of an institution."""

    def __init__(self, site: Site) -> None:
        transport = httpx.ASGITransport(app=site.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://machine.test")
        self.site = site
        self.client_id = self.secret = ""

    @classmethod
    async def of(cls, site: Site, *, institution: str = HOSPITAL, scopes=("datasets.write", "rejects.read")):
        """Return a machine with a good token."""
        machine = cls(site)
        async with site.platform.database.transaction() as connection:
            machine.client_id, machine.secret = await create_client(
                connection,
                institution=institution,
                scopes=scopes,
                now=site.clock.moment,
                random=secrets.token_bytes,
            )
        answer = await machine.ask(client_id=machine.client_id, client_secret=machine.secret)
        machine.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return machine

    async def ask(self, grant_type: str = "client_credentials", **fields: str) -> httpx.Response:
        """Ask for a token."""
        return await self.http.post("/oauth/token", data={"grant_type": grant_type, **fields})


def test_a_machine_gets_a_token_by_form_or_by_header(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        basic = base64.b64encode(f"{machine.client_id}:{machine.secret}".encode()).decode()

        by_form = await machine.ask(client_id=machine.client_id, client_secret=machine.secret)
        by_header = await machine.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials", "scope": "rejects.read"},
            headers={"Authorization": f"Basic {basic}"},
        )

        assert by_form.json()["token_type"] == "Bearer"
        assert by_form.json()["expires_in"] == 3600
        assert by_form.headers["cache-control"] == "no-store"
        assert by_header.json()["scope"] == "rejects.read"

    site_run(scenario)


def test_staff_get_a_token_by_password(site_run):
    async def scenario(site: Site) -> None:
        machine = Machine(site)

        right = await machine.ask("password", username="centre", password=PASSWORD)
        wrong = await machine.ask("password", username="centre", password="Wrong-password-1")

        assert right.status_code == 200
        assert wrong.status_code == 400
        assert wrong.json()["error"] == "invalid_grant"

    site_run(scenario)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"scope": "datasets.write"}, "unsupported_grant_type"),
        (
            {"grant_type": "client_credentials", "client_id": "kc-none", "client_secret": "x"},
            "invalid_client",
        ),
        ({"grant_type": "client_credentials"}, "invalid_client"),
    ],
)
def test_a_token_request_that_does_not_fit_is_refused_as_the_standard_says(site_run, fields, error):
    async def scenario(site: Site) -> None:
        answer = await Machine(site).http.post("/oauth/token", data=fields)

        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["error"] == error

    site_run(scenario)


def test_a_token_request_in_another_form_is_refused(site_run):
    async def scenario(site: Site) -> None:
        machine = Machine(site)

        as_json = await machine.http.post("/oauth/token", json={"grant_type": "client_credentials"})
        too_long = await machine.ask(client_id="x" * 20_000)
        twice = await machine.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials", "client_secret": "x"},
            headers={"Authorization": "Basic eDp5"},
        )
        broken = await machine.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": "Basic ***"},
        )

        for answer in (as_json, too_long, twice, broken):
            assert answer.status_code == 400
            assert answer.json()["error"] == "invalid_request"

    site_run(scenario)


def test_a_file_is_taken_in_and_its_receipt_tells_what_became_of_it(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        answer = await machine.http.post(
            "/datasets/outpatient_visit?file=visits_2026-03-16.csv", content=FILE
        )
        later = await machine.http.get(answer.headers["location"])

        assert answer.status_code == 201
        assert answer.json() == later.json()
        receipt = later.json()
        assert (receipt["state"], receipt["rows"], receipt["accepted"]) == ("committed", 5, 5)
        assert receipt["institution"] == HOSPITAL
        assert receipt["period"] == "2026-03-16"
        assert list((site.platform.home / "inbox").iterdir()) == []

    site_run(scenario)


def test_the_same_bytes_again_give_the_receipt_of_a_duplicate(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        first = await machine.http.post("/datasets/outpatient_visit", content=FILE)

        second = await machine.http.post("/datasets/outpatient_visit", content=FILE)

        assert second.status_code == 200
        assert second.json()["state"] == "duplicate"
        assert second.json()["duplicate_of"] == first.json()["id"]

    site_run(scenario)


def test_returned_rows_are_counted_by_reason_and_can_be_had_without_values(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        receipt = (await machine.http.post("/datasets/lab_result", content=WRONG)).json()
        english = (
            await machine.http.get(f"/receipts/{receipt['id']}", headers={"Accept-Language": "en-GB"})
        ).json()
        rejects = await machine.http.get(receipt["rejects"])

        assert receipt["rejected"] == 5
        assert receipt["reasons"][0]["rule"] == "domain"
        assert "代码表" in receipt["reasons"][0]["message"]
        assert "must be a code" in english["reasons"][0]["message"]
        assert rejects.status_code == 200
        assert not any(person.number in rejects.text for person in residents(5))

    site_run(scenario)


def test_a_machine_acts_for_its_own_institution_only(site_run):
    async def scenario(site: Site) -> None:
        machine, other = await Machine.of(site), await Machine.of(site, institution=SECOND_HOSPITAL)
        receipt = (await machine.http.post("/datasets/outpatient_visit", content=FILE)).json()

        elsewhere = await machine.http.post(
            f"/datasets/outpatient_visit?institution={SECOND_HOSPITAL}", content=FILE
        )
        foreign = await other.http.get(f"/receipts/{receipt['id']}")
        missing = await other.http.get("/receipts/424242")

        assert elsewhere.status_code == 403
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json()["type"] == missing.json()["type"] == "urn:kangshu:problem:not-found"

    site_run(scenario)


def test_a_scope_that_was_not_given_is_refused(site_run):
    async def scenario(site: Site) -> None:
        reader = await Machine.of(site, scopes=("receipts.read",))

        assert (await reader.http.post("/datasets/outpatient_visit", content=FILE)).status_code == 403
        assert (await reader.http.get("/receipts/1/rejects")).status_code == 403

    site_run(scenario)


def test_without_a_good_token_nothing_is_answered(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        good = machine.http.headers["Authorization"]

        for header in ("", "Bearer", "Bearer nonsense", f"Basic {good}", good[:-2]):
            machine.http.headers["Authorization"] = header
            answer = await machine.http.get("/receipts/1")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        machine.http.headers["Authorization"] = good
        site.clock.moment += timedelta(minutes=61)
        assert (await machine.http.get("/receipts/1")).status_code == 401

    site_run(scenario)


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/datasets/no_such_set", FILE, {}, 404),
        ("/datasets/outpatient_visit", b"", {}, 422),
        ("/datasets/outpatient_visit?period=March", FILE, {}, 422),
        ("/datasets/outpatient_visit", b"x" * 2_000, {}, 413),
        ("/datasets/outpatient_visit", FILE, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_file_that_cannot_be_taken_is_a_problem_and_leaves_nothing(
    site_run, path, content, headers, status
):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        answer = await machine.http.post(path, content=content, headers=headers)

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= set(answer.json())
        assert site.submitted == []
        inbox = site.platform.home / "inbox"
        assert not inbox.exists() or list(inbox.iterdir()) == []

    site_run(scenario, upload_limit_bytes=1_500)


def test_a_body_without_a_length_is_bounded_too(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        async def endless():
            for _ in range(100):
                yield b"x" * 100

        answer = await machine.http.post("/datasets/outpatient_visit", content=endless())

        assert answer.status_code == 413
        assert list((site.platform.home / "inbox").iterdir()) == []

    site_run(scenario, upload_limit_bytes=1_500)


def test_wrong_paths_methods_and_parameters_are_problems_without_values(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        missing = await machine.http.get("/nothing/here")
        method = await machine.http.delete("/receipts/1")
        parameter = await machine.http.get("/receipts/990102196805121016x")

        assert (missing.status_code, method.status_code, parameter.status_code) == (404, 405, 422)
        for answer in (missing, method, parameter):
            assert answer.headers["content-type"] == "application/problem+json"
        assert "990102196805121016" not in parameter.text
        assert "receipt_id" in parameter.json()["place"]

    site_run(scenario)


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(site_run, monkeypatch):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        def broken(*_: object) -> None:
            raise RuntimeError("secret 990102196805121016")

        monkeypatch.setattr(site.platform.database, "connection", broken)
        answer = await machine.http.get("/receipts/1")

        assert answer.status_code == 500
        assert answer.json()["type"] == "urn:kangshu:problem:fault"
        assert "secret" not in answer.text

    site_run(scenario)


def test_a_database_that_is_away_is_told_with_the_time_to_wait(site_run, monkeypatch):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        def away(*_: object) -> None:
            raise DatabaseUnavailableError(Text(zh="数据库无法连接", en="the database is away"))

        with monkeypatch.context() as patch:
            patch.setattr(site.platform.database, "connection", away)
            answer = await machine.http.get("/receipts/1", headers={"Accept-Language": "en"})
            ready = await machine.http.get("/health/ready")
            live = await machine.http.get("/health/live")
        again = await machine.http.get("/health/ready")

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert answer.json()["detail"] == "the database is away"
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"database": False, "disk": True}
        assert live.status_code == 200
        assert again.json() == {"status": "ready", "checks": {"database": True, "disk": True}}

    site_run(scenario)


def test_what_machines_do_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        await machine.ask(client_id="990102196805121016", client_secret="x")
        await machine.http.post("/datasets/outpatient_visit", content=FILE)

        async with site.platform.database.connection() as connection:
            uploads = await list_entries(connection, action="api.upload")
            tokens = await list_entries(connection, action="api.token")

        assert [entry.actor for entry in uploads] == [f"machine:{machine.client_id}"]
        assert [(entry.actor, entry.outcome) for entry in tokens] == [
            ("unknown", "refused"),
            (f"machine:{machine.client_id}", "done"),
        ]

    site_run(scenario)


def test_metrics_name_routes_and_never_addresses(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        await machine.http.get("/receipts/987654321")

        text = (await machine.http.get("/metrics")).text

        assert "987654321" not in text

    site_run(scenario)


def test_the_reference_page_lists_every_operation_and_asks_no_other_site(site_run):
    async def scenario(site: Site) -> None:
        machine = Machine(site)

        page = await machine.http.get("/docs")
        style = await machine.http.get("/docs/style.css")
        schema = (await machine.http.get("/openapi.json")).json()

        for path in schema["paths"]:
            assert path in page.text
        assert not re.search(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", page.text)
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "url(" not in style.text

    site_run(scenario)


def test_staff_send_for_any_institution_within_reach(site_run):
    async def scenario(site: Site) -> None:
        machine = Machine(site)
        answer = await machine.ask("password", username="city", password=PASSWORD)
        machine.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

        unnamed = await machine.http.post("/datasets/outpatient_visit", content=FILE)
        outside = await machine.http.post(f"/datasets/outpatient_visit?institution={HOSPITAL}", content=FILE)
        inside = await machine.http.post(
            f"/datasets/outpatient_visit?institution={SECOND_HOSPITAL}",
            content=csv_bytes(visit_rows(residents(3), institution=SECOND_HOSPITAL, day=date(2026, 3, 16))),
        )

        assert (unnamed.status_code, outside.status_code, inside.status_code) == (403, 403, 201)

    site_run(scenario)


def test_a_refused_file_has_a_receipt_with_the_reason(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)

        answer = await machine.http.post("/datasets/outpatient_visit", content=b"a,b\n1,2\n")

        assert answer.status_code == 200
        assert answer.json()["state"] == "rejected"
        assert answer.json()["reason"]
        assert answer.json()["rejects"] is None
        gone = await machine.http.get(f"/receipts/{answer.json()['id']}/rejects")
        assert gone.status_code == 404

    site_run(scenario)


def test_a_file_sent_from_elsewhere_has_a_receipt_too(site_run):
    async def scenario(site: Site) -> None:
        machine = await Machine.of(site)
        receipt_id = await send(site.platform, FILE, name="v_2026-03-16.csv", institution=HOSPITAL)

        answer = await machine.http.get(f"/receipts/{receipt_id}")

        assert answer.json()["name"] == "v_2026-03-16.csv"

    site_run(scenario)
