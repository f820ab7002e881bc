"""Clinical documents for tests, written out piece by piece. All people, institutions and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import hashlib
from pathlib import Path

import kangshu.packs
from kangshu.mapping import load_authorities
from kangshu.mapping.cda import load_cda
from kangshu.standards import cda

BASE = Path(kangshu.packs.__path__[0]) / "base"
MAPPING = load_cda(BASE / "cda", authorities=load_authorities(BASE / "authorities.toml"))
RESIDENT = '<id root="2.16.156.10011.1.3" extension="990101199003070017"/>'
INPATIENT = '<id root="2.16.156.10011.1.12" extension="ZY-1"/>'
OUTPATIENT = '<id root="2.16.156.10011.1.11" extension="MZ-1"/>'
RECORD = '<id root="2.16.156.10011.1.13" extension="BA-1"/>'
WARD = """<location><healthCareFacility><serviceProviderOrganization><asOrganizationPartOf><wholeOrganization>
  <id root="2.16.156.10011.1.26" extension="03"/><name>内科</name><asOrganizationPartOf><wholeOrganization>
  <id root="2.16.156.10011.1.27" extension="7"/><name>七病区</name></wholeOrganization></asOrganizationPartOf>
  </wholeOrganization></asOrganizationPartOf></serviceProviderOrganization></healthCareFacility></location>"""


def document(
    *sections,
    code="C0020",
    system="2.16.156.10011.2.4",
    number="D-1",
    realm="CN",
    ids=INPATIENT,
    person=RESIDENT,
    patient_type="",
    visit="",
    header="",
    title="文档",
    template="",
):
    """Return the bytes of a document of the class `code` with `sections`."""
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      {f'<realmCode code="{realm}"/>' if realm else ""}{template}
      <id root="2.16.156.10011.1.1" extension="{number}"/><code code="{code}" codeSystem="{system}"/>
      <title>{title}</title><effectiveTime value="20250102090000"/><languageCode code="zh-CN"/>{header}
      <recordTarget><patientRole>{ids}<telecom value="tel:13900000000" use="MC"/>{patient_type}<patient>{person}
        <name>测试甲</name><administrativeGenderCode code="1" codeSystem="2.16.156.10011.2.3.3.4"/>
        <birthTime value="19900307"/></patient></patientRole></recordTarget>
      <author><time value="20250102084500"/><assignedAuthor><id root="2.16.156.10011.1.7" extension="DR-1"/>
        <assignedPerson><name>医生乙</name></assignedPerson></assignedAuthor></author>
      <custodian><assignedCustodian><representedCustodianOrganization>
        <id root="2.16.156.10011.1.5" extension="H9901"/><name>虚构医院</name>
      </representedCustodianOrganization></assignedCustodian></custodian>
      {f"<componentOf><encompassingEncounter>{visit}</encompassingEncounter></componentOf>" if visit else ""}
      <component><structuredBody>{"".join(sections)}</structuredBody></component></ClinicalDocument>""".encode()


def section(*entries, code="29548-5"):
    """Return a section of the LOINC class `code` with entries."""
    inner = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return f'<component><section><code code="{code}" codeSystem="2.16.840.1.113883.6.1"/><text/>{inner}</section></component>'


def observation(code, value, *inner, title="", time=""):
    """Return an observation of the data element `code` with the value element `value`."""
    return f"""<observation classCode="OBS" moodCode="EVN"><code code="{code}" codeSystem="2.16.156.10011.2.2.1"
      displayName="{title}"/>{f'<effectiveTime value="{time}"/>' if time else ""}{value}{"".join(inner)}</observation>"""


def organizer(*members):
    """Return a group of entries."""
    inner = "".join(f"<component>{member}</component>" for member in members)
    return f'<organizer classCode="CLUSTER" moodCode="EVN"><statusCode/>{inner}</organizer>'


def below(*entries):
    """Return entries that hang below another."""
    return "".join(f'<entryRelationship typeCode="COMP">{entry}</entryRelationship>' for entry in entries)


def coded(code, display, system="2.16.156.10011.2.3.3.11"):
    """Return a coded value, of ICD-10 unless `system` says otherwise."""
    return f'<value xsi:type="CD" code="{code}" codeSystem="{system}" displayName="{display}"/>'


def text(words):
    """Return a text as a value."""
    return f'<value xsi:type="ST">{words}</value>'


def amount(number, unit=""):
    """Return a quantity as a value."""
    return f'<value xsi:type="PQ" value="{number}"{f""" unit="{unit}" """ if unit else ""}/>'


def make_id(kind, key):
    """Return an id that follows from the key."""
    return hashlib.blake2b(f"{kind}|{key}".encode(), digest_size=9).hexdigest()


def mapped(data, *, sender="H9901", mapping=MAPPING):
    """Return what the document in `data` becomes."""
    return mapping.apply(cda.parse(data), sender=sender, make_id=make_id)


def resources(result, kind):
    """Return the resources of one type."""
    return [draft.resource for draft in result.drafts if draft.type == kind]


def one(result, kind):
    """Return the only resource of a type."""
    (found,) = resources(result, kind)
    return found


def notes(result):
    """Return the notes in Chinese."""
    return [note.text.zh for note in result.notes]
