"""Reading clinical documents: what is taken, what is refused and why. All people and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import tracemalloc

import pytest

from kangshu.standards import cda

HEADER = """<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="CN"/>
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>
  <templateId root="2.16.156.10011.2.1.1.40"/>
  <id root="2.16.156.10011.1.1" extension="D-1"/>
  <code code="C0020" codeSystem="2.16.156.10011.2.4"/>
  <title>生命体征测量记录</title>
  <effectiveTime value="20250102080000"/>
  <languageCode code="zh-CN"/>
  <setId root="2.16.156.10011.1.1" extension="S-1"/>
  <versionNumber value="2"/>
  <recordTarget><patientRole>
    <id root="2.16.156.10011.1.12" extension="ZY-1"/>
    <patientType><patienttypeCode code="3" codeSystem="2.16.156.10011.2.3.1.271"/></patientType>
    <patient>
      <id root="2.16.156.10011.1.3" extension="990101199003070017"/>
      <name>测试甲</name>
      <administrativeGenderCode code="1" codeSystem="2.16.156.10011.2.3.3.4"/>
      <birthTime value="19900307"/>
      <age unit="岁" value="34"/>
    </patient>
  </patientRole></recordTarget>
  <author><time value="20250102081500"/><assignedAuthor>
    <id root="2.16.156.10011.1.7" extension="DR-1"/><assignedPerson><name>医生乙</name></assignedPerson>
  </assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    <id root="2.16.156.10011.1.5" extension="H9901"/><name>虚构医院</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
"""
BODY = """<component><structuredBody><component><section>
  <code code="8716-3" codeSystem="2.16.840.1.113883.6.1" displayName="VITAL SIGNS"/><text/>
  <entry><observation classCode="OBS" moodCode="EVN">
    <code code="DE04.10.186.00" codeSystem="2.16.156.10011.2.2.1" displayName="体温"/>
    <value xsi:type="PQ" value="36.50" unit="℃"/>
  </observation></entry>
</section></component></structuredBody></component></ClinicalDocument>"""
DOCUMENT = HEADER + BODY


def refused(data):
    with pytest.raises(cda.CdaError) as caught:
        cda.parse(data if isinstance(data, bytes) else data.encode())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def test_the_header_is_read():
    document = cda.parse(DOCUMENT.encode())

    assert document.id == "2.16.156.10011.1.1^D-1"
    assert document.code == "C0020"
    assert document.title == "生命体征测量记录"
    assert (document.set_id.extension, document.version) == ("S-1", 2)
    assert document.templates == ("2.16.156.10011.2.1.1.40",)
    assert (document.custodian_id, document.custodian_name) == ("H9901", "虚构医院")
    assert document.patient.names[0].full == "测试甲"
    assert document.patient.sex.code == "1"
    assert document.patient.type.code == "3"
    assert document.authors[0].name.full == "医生乙"
    assert document.size == len(DOCUMENT.encode())


def test_entries_are_read_with_their_place_and_the_number_as_it_was_written():
    document = cda.parse(DOCUMENT.encode())

    (entry,) = document.sections[0].entries

    assert entry.place == (
        "ClinicalDocument/component[1]/structuredBody/component[1]/section/entry[1]/observation"
    )
    assert str(entry.value.value) == "36.50"
    assert entry.value.unit == "℃"


@pytest.mark.parametrize("declared", ["GBK", "gb18030", "GB2312", "GB18030-2022"])
def test_documents_in_the_national_encodings_are_read(declared):
    data = f'<?xml version="1.0" encoding="{declared}"?>\n{DOCUMENT}'.encode("gb18030")

    document = cda.parse(data)

    assert document.title == "生命体征测量记录"
    assert document.charset == "gb18030"
    assert document.charset_note is None


def test_rare_characters_of_four_bytes_are_read():
    data = ('<?xml version="1.0" encoding="GB18030"?>' + DOCUMENT.replace("测试甲", "测试𠮷")).encode(
        "gb18030"
    )

    assert cda.parse(data).patient.names[0].full == "测试𠮷"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_documents_in_other_unicode_encodings_are_read(codec):
    declared = "UTF-8" if codec == "utf-8-sig" else "UTF-16"
    data = f'<?xml version="1.0" encoding="{declared}"?>{DOCUMENT}'.encode(codec)

    assert cda.parse(data).title == "生命体征测量记录"
    assert cda.looks_like(data)


def test_a_declaration_that_the_bytes_contradict_gives_way_and_is_noted():
    claims_utf_8 = f'<?xml version="1.0" encoding="UTF-8"?>{DOCUMENT}'.encode("gb18030")
    claims_gbk = f'<?xml version="1.0" encoding="GBK"?>{DOCUMENT}'.encode()

    for data in (claims_utf_8, claims_gbk):
        document = cda.parse(data)
        assert document.title == "生命体征测量记录"
        assert document.charset_note is not None


def test_an_encoding_that_nobody_reads_here_is_refused():
    assert isinstance(
        refused(b'<?xml version="1.0" encoding="UTF-7"?>' + DOCUMENT.encode()), cda.CharsetError
    )
    assert isinstance(refused(b"<ClinicalDocument>\xff\xff\xff</ClinicalDocument>"), cda.CharsetError)


BOMB = """<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>"""
OUTSIDE = """<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>"""


@pytest.mark.parametrize("doctype", [BOMB, OUTSIDE, '<!DOCTYPE b SYSTEM "http://example.invalid/b.dtd">'])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "gb18030"])
def test_document_types_are_refused_before_anything_is_parsed(doctype, codec):
    declaration = f'<?xml version="1.0" encoding="{codec}"?>'
    data = (declaration + "<!-- a comment first -->" + doctype + DOCUMENT).encode(codec)

    assert isinstance(refused(data), cda.ForbiddenXmlError)
    assert cda.looks_like(data)  # so that it is refused as what it pretends to be


def test_an_entity_that_nobody_declared_is_refused():
    assert isinstance(refused(DOCUMENT.replace("虚构医院", "&xxe;")), cda.NotXmlError)


@pytest.mark.parametrize(
    ("data", "kind", "place"),
    [
        ("", cda.NotXmlError, None),
        ("  \n ", cda.NotXmlError, None),
        ("MSH|^~\\&|", cda.NotXmlError, "line 1"),
        ('{"resourceType": "Patient"}', cda.NotXmlError, "line 1"),
        ("<note/>", cda.NotADocumentError, "line 1"),
        ("<section><code/></section>", cda.NotADocumentError, "section"),
        ("<!-- part --><entryRelationship/>", cda.NotADocumentError, "entryRelationship"),
        ("<ClinicalDocument/>", cda.NotADocumentError, "ClinicalDocument"),
        ('<ClinicalDocument xmlns="urn:hl7-org:v3-test"/>', cda.NotADocumentError, "ClinicalDocument"),
        (DOCUMENT[:-30], cda.NotXmlError, "line 35"),
        (DOCUMENT.replace("<title>", '<title lang:x="1">'), cda.NotXmlError, "line 7"),
        (DOCUMENT.replace('<id root="2.16.156.10011.1.1" extension="D-1"/>', "<id/>"), cda.IncompleteHeaderError,
         "ClinicalDocument/id"),
        (DOCUMENT.replace('code="C0020"', ""), cda.IncompleteHeaderError, "ClinicalDocument/code"),
        (DOCUMENT.replace("patientRole", "patientRolle"), cda.IncompleteHeaderError,
         "ClinicalDocument/recordTarget/patientRole"),
        (HEADER + "</ClinicalDocument>", cda.IncompleteHeaderError, "ClinicalDocument/component"),
    ],
)  # fmt: skip
def test_what_is_no_whole_document_is_refused_with_its_place(data, kind, place):
    refusal = refused(data)

    assert type(refusal) is kind
    assert refusal.place == place


def test_a_refusal_never_quotes_the_document():
    secret = "机密姓名"
    for data in (
        DOCUMENT.replace("测试甲", f"{secret}<b>").encode(),
        f"<{secret}/>".encode(),
        f'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3" {secret}="1" {secret}="2"/>'.encode(),
    ):
        refusal = refused(data)
        assert secret not in str(refusal)
        assert secret not in repr(refusal.__context__)


def test_depth_number_and_size_are_bounded():
    deep = "<text>" + "<content>" * 150 + "</content>" * 150 + "</text>"
    many = "<text>" + "<br/>" * 2_000 + "</text>"
    attributes = "<text " + " ".join(f'a{n}=""' for n in range(5_000)) + "/>"
    small = cda.Limits(bytes=1 << 20, elements=1_000, depth=60)

    for body in (deep, many, attributes, "x" * (1 << 20)):
        with pytest.raises(cda.DocumentTooLargeError):
            cda.parse(DOCUMENT.replace("<text/>", body).encode(), limits=small)
    with pytest.raises(cda.CdaError):
        cda.parse(DOCUMENT.replace("<text/>", deep * 3).encode())


def test_many_comments_before_the_root_end_the_search():
    assert isinstance(refused("<!-- -->" * 200 + DOCUMENT), cda.NotXmlError)
    assert isinstance(refused("<!-- " + DOCUMENT), cda.NotXmlError)


def test_a_document_full_of_elements_does_not_fill_the_memory():
    data = DOCUMENT.replace("<text/>", "<text>" + "<br/>" * 1_500_000 + "</text>").encode()

    tracemalloc.start()
    with pytest.raises(cda.DocumentTooLargeError):
        cda.parse(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 6 * len(data)


def test_comments_and_instructions_are_not_content():
    data = DOCUMENT.replace("虚构医院", "虚构<!-- 注释 --><?do it?>医院")

    assert cda.parse(data.encode()).custodian_name == "虚构医院"


def test_sections_without_a_structured_body_are_read_as_some_templates_write_them():
    inner = BODY.replace("<component><structuredBody><component>", "<component>").replace(
        "</component></structuredBody></component>", "</component>"
    )

    document = cda.parse((HEADER + inner).encode())

    assert [entry.code.code for entry in document.sections[0].entries] == ["DE04.10.186.00"]
    assert document.sections[0].place == "ClinicalDocument/component[1]/section"


def test_an_empty_reference_to_an_earlier_document_is_none():
    empty = '<relatedDocument typeCode="RPLC"><parentDocument><id/><setId/><versionNumber/></parentDocument></relatedDocument>'
    named = empty.replace("<id/>", '<id root="2.16.156.10011.1.1" extension="D-0"/>')

    assert cda.parse((HEADER + empty + BODY).encode()).related == ()
    (related,) = cda.parse((HEADER + named + BODY).encode()).related
    assert (related.type, related.ids[0].extension) == ("RPLC", "D-0")


def test_the_chain_of_places_of_a_visit_is_read_from_the_bed_outwards():
    visit = """<componentOf><encompassingEncounter><effectiveTime value="20250101"/><location><healthCareFacility>
      <serviceProviderOrganization><asOrganizationPartOf><wholeOrganization>
        <id root="2.16.156.10011.1.22" extension="12"/><asOrganizationPartOf><wholeOrganization>
          <id root="2.16.156.10011.1.26" extension="03"/><name>内科</name>
        </wholeOrganization></asOrganizationPartOf></wholeOrganization></asOrganizationPartOf>
      </serviceProviderOrganization></healthCareFacility></location></encompassingEncounter></componentOf>"""

    document = cda.parse((HEADER + visit + BODY).encode())

    assert document.visit.time.at == "20250101"
    assert [one.name for one in document.visit.location.chain()] == [None, "内科"]


VALUES = [
    ('xsi:type="CD" code="I10" codeSystem="2.16.156.10011.2.3.3.11" displayName="高血压"/>', cda.Code),
    ('xsi:type="CD" code="1" codeSystem="2.16.156.10011.2.3.2.38">正常</value>', cda.Code),
    ('xsi:type="PQ" value="1.0" unit="mg"/>', cda.Quantity),
    ('xsi:type="INT" value="3"/>', cda.Quantity),
    ('xsi:type="REAL" value=".5"/>', cda.Quantity),
    ('xsi:type="MO" value="12.00" currency="元"/>', cda.Quantity),
    ('xsi:type="IVL_PQ"><low value="1" unit="g"/><high value="2" unit="g"/></value>', cda.QuantityRange),
    ('xsi:type="TS" value="20250101"/>', cda.Period),
    ('xsi:type="IVL_TS"><low value="2025"/></value>', cda.Period),
    ('xsi:type="BL" value="true"/>', cda.Flag),
    ('xsi:type="BL" value="未查"/>', cda.Plain),
    ('xsi:type="ST">文字</value>', cda.Plain),
    ('xsi:type="ED" representation="B64" mediaType="image/png">AAAA</value>', cda.Media),
    ('xsi:type="x:CE" code="1" codeSystem="1.2.3"/>', cda.Code),
    ('code="1" codeSystem="1.2.3"/>', cda.Code),
    ('value="3" unit="g"/>', cda.Quantity),
    (">没有类型</value>", cda.Plain),
]


@pytest.mark.parametrize(("written", "kind"), VALUES)
def test_values_are_read_by_their_type(written, kind):
    data = DOCUMENT.replace('<value xsi:type="PQ" value="36.50" unit="℃"/>', f"<value {written}")

    value = cda.parse(data.replace("<value >", "<value>").encode()).sections[0].entries[0].value

    assert type(value) is kind


def test_a_number_that_is_none_stays_a_text():
    data = DOCUMENT.replace('value="36.50"', 'value="未测"')

    value = cda.parse(data.encode()).sections[0].entries[0].value

    assert value.value is None
    assert value.text == "未测"


def test_original_texts_are_found_in_the_narrative():
    section = BODY.replace("<text/>", '<text><paragraph ID="t1">发热 三天</paragraph></text>').replace(
        '<code code="DE04.10.186.00" codeSystem="2.16.156.10011.2.2.1" displayName="体温"/>',
        '<code nullFlavor="UNK"><originalText><reference value="#t1"/></originalText></code>',
    )

    (entry,) = cda.parse((HEADER + section).encode()).sections[0].entries

    assert entry.code.title == "发热 三天"


def test_misspelt_relationships_and_roles_are_read_as_they_are_meant():
    nested = """<entryReationship typeCode="COMP"><observation classCode="OBS" moodCode="EVN">
      <code code="DE06.00.179.00" displayName="备注"/><value xsi:type="ST">复测</value></observation></entryReationship>
      <participant typeCode="CSM"><partivipantRole><playingEntity classCode="MMAT"><desc>青霉素</desc></playingEntity>
      </partivipantRole></participant></observation></entry>"""

    document = cda.parse((HEADER + BODY.replace("</observation></entry>", nested)).encode())
    (entry,) = document.sections[0].entries

    assert entry.children[0].value.text == "复测"
    assert entry.parties[0].thing_name == "青霉素"


@pytest.mark.parametrize(
    ("text", "fhir", "read"),
    [
        ("2025", "2025", "2025"),
        ("202501", "2025-01", "2025-01"),
        ("20250102", "2025-01-02", "2025-01-02"),
        ("2025010208", "2025-01-02T08:00:00+08:00", "2025-01-02 08:00"),
        ("202501020830", "2025-01-02T08:30:00+08:00", "2025-01-02 08:30"),
        ("20250102083015", "2025-01-02T08:30:15+08:00", "2025-01-02 08:30:15"),
        ("20250102083015.123+0930", "2025-01-02T08:30:15.123+09:30", "2025-01-02 08:30:15"),
        ("20250102083015-05", "2025-01-02T08:30:15-05:00", "2025-01-02 08:30:15"),
        ("2025-01-02 08:30:15", "2025-01-02T08:30:15+08:00", "2025-01-02 08:30:15"),
        ("20250230", None, "20250230"),
        ("00000101", None, "00000101"),
        ("20250102246000", None, "20250102246000"),
        ("昨天", None, "昨天"),
        ("", None, ""),
    ],
)
def test_times_keep_their_precision(text, fhir, read):
    assert cda.fhir_time(text, zone="+08:00") == fhir
    assert cda.readable_time(text) == read
