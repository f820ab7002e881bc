"""Clinical documents on a page: all of their text, none of their markup; nobody in them is real."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any

import httpx
import pytest
from console_life import DOCUMENT, EARLIER_DOCUMENT, clinical_document, live, person_of
from console_world import HOSPITAL, Browser, Site, csv_bytes, lab_rows, residents, send
from hypothesis import given
from hypothesis import strategies as st

from kangshu.audit import list_entries, list_for_person
from kangshu.console.documents import ItemsBlock, LinesBlock, TableBlock, TextBlock, make_page, read_body
from kangshu.console.masking import Mask
from kangshu.records import Document, store_documents
from kangshu.standards.cda import CdaError

PEOPLE = residents(2)
MAN = PEOPLE[0]
NOBODY = Mask({})


def _document(body: str, *, title: str = "虚构文档") -> bytes:
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      <id root="2.16.156.10011.1.1" extension="D-9"/><code code="C0020" codeSystem="2.16.156.10011.2.4"/>
      <title>{title}</title><effectiveTime value="20260102"/>
      <recordTarget><patientRole><id root="2.16.156.10011.1.12" extension="ZY990001"/>
        <patient><name>虚构人</name><birthTime value="19580531"/></patient></patientRole></recordTarget>
      <component>{body}</component></ClinicalDocument>""".encode()


def _text(inner: str) -> bytes:
    return _document(
        f"<structuredBody><component><section><title>章节</title><text>{inner}</text></section></component>"
        "</structuredBody>"
    )


def test_sections_lists_tables_and_coded_entries_are_told_one_by_one():
    page = make_page(clinical_document(MAN), language="zh", mask=None)

    assert [section.title for section in page.sections] == [
        "出院诊断",
        "诊疗经过",
        "辅助检查",
        "生命体征",
        "出院医嘱",
    ]
    diagnoses, course, examinations, signs, _ = page.sections
    assert [block.kind for block in diagnoses.blocks] == ["list"]
    assert isinstance(diagnoses.blocks[0], ItemsBlock)
    assert [(item.level, item.mark, item.text) for item in diagnoses.blocks[0].items] == [
        (0, "1.", "胆囊结石伴慢性胆囊炎"),
        (0, "2.", "2型糖尿病"),
        (1, "•", "糖尿病肾病？待查"),
    ]
    assert isinstance(course.blocks[0], TextBlock)
    table = examinations.blocks[0]
    assert isinstance(table, TableBlock)
    assert [cell.text for cell in table.rows[0]] == [
        "白细胞计数",
        "12.4 ↑",
        "10⁹/L",
        "3.5–9.5",
    ]
    assert [(line.title, line.value) for line in examinations.lines] == [("白细胞计数", "12.4 10*9/L")]
    assert isinstance(signs.blocks[0], LinesBlock)
    assert [(line.level, line.title, line.value) for line in signs.blocks[0].lines] == [
        (0, "体温", "36.5 ℃"),
        (0, "血压", ""),
        (1, "收缩压", "128 mmHg"),
        (1, "舒张压", "78 mmHg"),
    ]
    assert signs.lines == ()  # they are what is shown, so they are not told again


def test_a_masked_page_recognises_nobody():
    page = make_page(clinical_document(MAN), language="zh", mask=NOBODY)
    shown = repr([page.facts, page.sections, page.title]) + "".join(
        [fact.value for fact in page.facts]
        + [
            block.text
            for section in page.sections
            for block in section.blocks
            if isinstance(block, TextBlock)
        ]
    )

    for secret in (MAN.name, MAN.number, MAN.phone, f"{MAN.birth_date:%Y%m%d}", MAN.birth_date.isoformat()):
        assert secret not in shown
    assert "入院后完善检查" in shown


def test_a_page_in_clear_names_its_patient():
    page = make_page(clinical_document(MAN), language="zh", mask=None)

    assert {fact.key: fact.value for fact in page.facts}["patient"] == MAN.name


def test_a_document_that_is_too_long_for_a_page_is_cut_and_says_so():
    rows = "".join(f"<paragraph>第 {number} 段</paragraph>" for number in range(6000))

    page = make_page(_text(rows), language="zh", mask=None)

    assert page.cut
    assert sum(len(section.blocks) for section in page.sections) < 5001


@pytest.mark.parametrize("span", ["2", "60", "999999", "-3", "x"])
def test_cells_span_no_more_than_a_page_bears(span: str):
    page = make_page(
        _text(f'<table><tbody><tr><td colspan="{span}" rowspan="{span}">x</td></tr></tbody></table>'),
        language="zh",
        mask=None,
    )

    block = page.sections[0].blocks[0]
    assert isinstance(block, TableBlock)
    assert 1 <= block.rows[0][0].columns <= 40
    assert 1 <= block.rows[0][0].rows <= 40


def test_a_scan_is_no_text_and_can_be_taken_out():
    scan = _document(
        '<nonXMLBody><text mediaType="application/pdf" representation="B64">JVBERi0=</text></nonXMLBody>'
    )

    page, body = make_page(scan, language="zh", mask=None), read_body(scan)

    assert page.body
    assert page.sections == ()
    assert page.attachment
    assert body is not None
    assert (body.media_type, body.content) == ("application/pdf", b"%PDF-")
    assert read_body(clinical_document(MAN)) is None


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_page_or_a_refusal(data: bytes):
    with suppress(CdaError):
        make_page(data, language="zh", mask=NOBODY)


@given(text=st.text(alphabet="张小明1230-A ", max_size=30))
def test_a_mask_leaves_no_secret_and_changes_nothing_else(text: str):
    masked = Mask({"张小明": "张**", "123": "1*3"})(text)

    assert "张小明" not in masked
    assert len(masked) == len(text)
    if "张小明" not in text and "123" not in text:
        assert masked == text


# --- in the record ---

database = pytest.mark.database


async def _opened(site: Site, *, account: str = "doctor") -> tuple[Browser, int]:
    rows = lab_rows(PEOPLE, institution=HOSPITAL, day=date(2026, 3, 2))
    await send(site.platform, csv_bytes(rows), name="lab_2026-03-02.csv", institution=HOSPITAL)
    person = await live(site.platform, MAN, today=date(2026, 3, 18))
    browser = await site.signed_in(account)
    await browser.post(f"/console/persons/{person}/open", {"purpose": "treatment"})
    return browser, person


async def _keep(site: Site, person: int, **more: Any) -> None:
    usual = {
        "id": "other",
        "content": b"x",
        "media_type": "text/xml",
        "institution": HOSPITAL,
        "message": None,
    }
    async with site.platform.database.transaction() as connection:
        document = Document(**{**usual, "person": person, **more})
        await store_documents(connection, documents=[document], now=site.clock.moment)


@database
def test_a_document_is_read_as_a_page_without_a_trace_of_its_markup(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)

        page = (await browser.get(f"/console/persons/{person}/documents/{DOCUMENT}")).text

        for text in ("出院诊断", "胆囊结石伴慢性胆囊炎", "白细胞计数", "36.5 ℃", "低脂饮食"):
            assert text in page
        assert "<script>alert" not in page
        assert MAN.name not in page
        assert MAN.number not in page
        assert f"/documents/{DOCUMENT}/file" not in page  # nothing to take away while it is masked

    site_run(scenario)


@database
def test_a_replaced_document_says_that_it_no_longer_holds(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)

        page = (await browser.get(f"/console/persons/{person}/documents/{EARLIER_DOCUMENT}")).text

        assert "此文档不再有效" in page
        assert "已被替换" in page

    site_run(scenario)


@database
def test_the_document_as_sent_is_taken_away_only_in_clear_and_on_record(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        path = f"/console/persons/{person}/documents/{DOCUMENT}"

        masked = await browser.get(f"{path}/file")
        revealed = await browser.post(f"/console/persons/{person}/reveal", {"back": path})
        file = await browser.get(f"{path}/file")

        assert str(masked.url).endswith(path)
        assert f'href="{path}/file"' in revealed.text
        assert MAN.name in revealed.text
        _is_attachment(file, "text/xml", f"document-{DOCUMENT}.xml")
        assert file.content == clinical_document(MAN)
        async with site.platform.database.connection() as connection:
            [taken] = await list_entries(connection, action="document.download")
        assert (taken.person, taken.purpose, taken.resource) == (person, "treatment", f"Binary/{DOCUMENT}")
        assert (await _actions(site, person))[0] == "document.download"

    site_run(scenario)


@database
def test_a_scan_in_a_document_is_taken_away_by_itself(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        scan = _document(
            '<nonXMLBody><text mediaType="application/pdf" representation="B64">PGI+</text></nonXMLBody>'
        )
        await _keep(site, person, id="scan", content=scan)
        path = f"/console/persons/{person}/documents/scan"
        await browser.post(f"/console/persons/{person}/reveal", {"back": path})

        page, body = await browser.get(path), await browser.get(f"{path}/body")
        without = await browser.get(f"/console/persons/{person}/documents/{DOCUMENT}/body")

        assert f'href="{path}/body"' in page.text
        _is_attachment(body, "application/pdf", "document-scan.pdf")
        assert body.content == b"<b>"
        assert without.status_code == 404

    site_run(scenario)


@database
@pytest.mark.parametrize("kind", ["text/html", "text/xml; charset=x", "nonsense", "a/b\r\nX-Evil: 1"])
def test_a_type_that_a_sender_made_up_never_decides_how_a_browser_treats_it(
    site_run: Callable[..., Any], kind: str
):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        await _keep(site, person, content=b"<script>alert(1)</script>", media_type=kind)
        path = f"/console/persons/{person}/documents/other"
        await browser.post(f"/console/persons/{person}/reveal", {"back": path})

        page, file = await browser.get(path), await browser.get(f"{path}/file")

        assert "此文档无法在页面上显示" in page.text
        assert "<script>alert" not in page.text
        assert file.headers["content-disposition"].startswith("attachment")
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "x-evil" not in file.headers

    site_run(scenario)


@database
def test_what_is_damaged_or_too_large_for_a_page_says_so(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        await _keep(site, person, id="damaged", content=b"<ClinicalDocument xmlns='urn:hl7-org:v3'><id")
        await _keep(site, person, id="large", content=clinical_document(MAN) + b" " * (9 << 20))

        for document in ("damaged", "large"):
            page = await browser.get(f"/console/persons/{person}/documents/{document}")
            assert page.status_code == 200, document
            assert "此文档无法在页面上显示" in page.text

    site_run(scenario)


@database
def test_documents_of_somebody_else_and_of_nobody_look_like_none(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        await _keep(site, await person_of(site.platform, PEOPLE[1]), id="theirs")
        await _keep(site, None, id="unlinked")  # type: ignore[arg-type] - about nobody whom we know
        path = f"/console/persons/{person}/documents"

        for wrong in ("theirs", "unlinked", "none", "..%2f..%2fx", "%00", f"{DOCUMENT}?version=7"):
            assert (await browser.get(f"{path}/{wrong}")).status_code == 404, wrong

    site_run(scenario)


@database
def test_versions_of_a_document_can_be_asked_for(site_run: Callable[..., Any]):
    async def scenario(site: Site) -> None:
        browser, person = await _opened(site)
        await _keep(site, person, id="twice", content=clinical_document(MAN, title="第一稿"))
        await _keep(site, person, id="twice", content=clinical_document(MAN, title="第二稿"))
        path = f"/console/persons/{person}/documents/twice"

        latest, first = await browser.get(path), await browser.get(f"{path}?version=1")

        assert "第二稿" in latest.text
        assert "第一稿" in first.text

    site_run(scenario)


def _is_attachment(response: httpx.Response, kind: str, name: str) -> None:
    assert response.status_code == 200
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


async def _actions(site: Site, person: int) -> list[str]:
    async with site.platform.database.connection() as connection:
        return [entry.action for entry in await list_for_person(connection, person=person)]
