"""CDA documents through the lane: kept as sent, mapped, replaced; the people in them do not exist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from message_world import HOSPITAL, RESIDENT, MessageWorld, open_message_world, reader

from kangshu import records
from kangshu.consent import Purpose, grant_read
from kangshu.intake.messages import MessageFormat, MessageState

pytestmark = pytest.mark.database

_HEAD = """<?xml version="1.0" encoding="{encoding}"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="CN"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>
  <templateId root="2.16.156.10011.2.1.1.22"/>
  <id root="2.16.156.10011.1.1" extension="{number}"/>
  <code code="C0002" codeSystem="2.16.156.10011.2.4" codeSystemName="卫生信息共享文档规范编码体系"/>
  <title>门(急)诊病历</title><effectiveTime value="20260301103000"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="zh-CN"/>
  <setId root="2.16.156.10011.1.1" extension="SET1"/><versionNumber value="{version}"/>
  <recordTarget typeCode="RCT" contextControlCode="OP"><patientRole classCode="PAT">
    <id root="2.16.156.10011.1.11" extension="V77"/>
    <patient classCode="PSN" determinerCode="INSTANCE">
      <id root="2.16.156.10011.1.3" extension="{resident}"/><name>测试甲</name>
      <administrativeGenderCode code="1" codeSystem="2.16.156.10011.2.3.3.4"/>
      <birthTime value="19680512"/></patient>
  </patientRole></recordTarget>
  <author typeCode="AUT"><time value="20260301103000"/><assignedAuthor classCode="ASSIGNED">
    <id root="2.16.156.10011.1.7" extension="D1"/><assignedPerson><name>测试医生</name></assignedPerson>
  </assignedAuthor></author>
  <custodian><assignedCustodian classCode="ASSIGNED"><representedCustodianOrganization>
    <id root="2.16.156.10011.1.5" extension="{sender}"/><name>模拟医院</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  {relation}
  <component><structuredBody>
    <component><section>
      <code code="29548-5" displayName="Diagnosis" codeSystem="2.16.840.1.113883.6.1"/><text/>
      <entry><observation classCode="OBS" moodCode="EVN">
        <code code="DE05.01.024.00" codeSystem="2.16.156.10011.2.2.1" displayName="诊断编码"/>
        <value xsi:type="CD" code="{diagnosis}" codeSystem="2.16.156.10011.2.3.3.11" displayName="{title}"/>
      </observation></entry>
    </section></component>
  </structuredBody></component>
</ClinicalDocument>"""
_RELATION = """<relatedDocument typeCode="RPLC"><parentDocument>
  <id root="2.16.156.10011.1.1" extension="{number}"/></parentDocument></relatedDocument>"""


def document(number: str, *, replaces: str = "", encoding: str = "UTF-8", diagnosis: str = "I10") -> bytes:
    """Return an outpatient record with one diagnosis."""
    text = _HEAD.format(
        encoding=encoding,
        number=number,
        version=2 if replaces else 1,
        resident=RESIDENT,
        sender=HOSPITAL,
        relation=_RELATION.format(number=replaces) if replaces else "",
        diagnosis=diagnosis,
        title="原发性高血压" if diagnosis == "I10" else "急性上呼吸道感染",
    )
    return text.encode(encoding)


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[MessageWorld]:
    with open_message_world(database_server) as world:
        yield world


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK", "GB18030"])
def test_a_document_is_taken_in_whatever_its_declared_encoding(house: MessageWorld, encoding: str):
    result = house.take(document(f"E-{encoding}", encoding=encoding), format=MessageFormat.CDA)

    assert result.state is MessageState.ACCEPTED
    (reference,) = house.of_type(result, "DocumentReference")
    assert house.read(reference)["status"] == "current"


def test_the_document_is_kept_to_the_byte(house: MessageWorld):
    body = document("K-1", encoding="GB18030")
    (reference,) = house.of_type(house.take(body), "DocumentReference")

    async def scenario() -> bytes:
        now = house.world.platform.clock.now()
        async with house.world.platform.database.connection() as connection:
            sealed = await records.read_document(connection, id=reference.partition("/")[2])
            assert sealed.person is not None
            grant = await grant_read(
                connection,
                principal=reader(),
                person=sealed.person,
                purpose=Purpose.TREATMENT,
                now=now,
                whereabouts=house.everywhere,
            )
            return sealed.open(grant=grant, now=now)

    assert house.world.run(scenario) == body


def test_a_replacing_document_supersedes_the_earlier_one_and_withdraws_what_it_alone_said(
    house: MessageWorld,
):
    first = house.take(document("R-1", diagnosis="J06.900"))
    (old,) = house.of_type(first, "DocumentReference")
    (said,) = house.of_type(first, "Condition")

    second = house.take(document("R-2", replaces="R-1", diagnosis="I10"))

    assert second.state is MessageState.ACCEPTED
    assert house.read(old)["status"] == "superseded"
    (now,) = house.of_type(second, "Condition")
    conditions = {one: house.read(one) for one in {said, now}}
    assert conditions[now]["code"]["coding"][0]["code"] == "I10"
    if said != now:
        assert conditions[said]["verificationStatus"]["coding"][0]["code"] == "entered-in-error"


def test_an_external_entity_is_refused_and_nothing_is_read(house: MessageWorld):
    body = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
        + document("X-1")[38:]
    )

    result = house.take(body, format=MessageFormat.CDA)

    assert result.state is MessageState.REFUSED
