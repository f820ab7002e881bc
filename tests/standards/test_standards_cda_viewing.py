"""Documents as pages: header facts, narrative, coded entries. All people and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import dataclasses

import pytest

from kangshu.standards import cda

HEADER = """<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <id root="2.16.156.10011.1.1" extension="D-1"/><code code="C0007" codeSystem="2.16.156.10011.2.4"/>
  <title>检验报告</title><effectiveTime value="202501020800"/><versionNumber value="1"/>
  <recordTarget><patientRole><patient><name>测试甲</name>
    <administrativeGenderCode code="2" codeSystem="2.16.156.10011.2.3.3.4"/><birthTime value="19900307"/>
  </patient></patientRole></recordTarget>
  <author><assignedAuthor><assignedPerson><name>医生乙</name></assignedPerson></assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization><name>虚构医院</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <authenticator><time value="20250102"/><assignedEntity><code displayName="检验技师"/>
    <assignedPerson><name>技师丙</name></assignedPerson></assignedEntity></authenticator>
"""


def view(section, *, language="zh"):
    body = f"<component><structuredBody><component><section>{section}</section></component></structuredBody></component>"
    return cda.view(cda.parse(f"{HEADER}{body}</ClinicalDocument>".encode()), language=language)


def lines(section, **settings):
    return cda.blocks_text(view(section, **settings).sections[0].blocks).splitlines()


def test_the_header_tells_who_what_where_and_when():
    page = view("<text>正常</text>")

    assert (page.title, page.patient, page.author) == ("检验报告", "测试甲", "医生乙")
    assert (page.institution, page.date, page.version) == ("虚构医院", "2025-01-02 08:00", "1")
    assert page.document_class == "C0007"
    assert [(fact.label, fact.value) for fact in page.facts if fact.key in ("sex", "birth", "signer")] == [
        ("性别", "女"),
        ("出生日期", "1990-03-07"),
        ("检验技师", "技师丙 2025-01-02"),
    ]


def test_labels_come_in_the_readers_language():
    page = view('<code code="8716-3"/><text>ok</text>', language="en")

    assert page.sections[0].title == "Vital signs"
    assert next(fact for fact in page.facts if fact.key == "sex").value == "female"


def test_a_section_without_narrative_is_read_by_its_entries():
    section = """<code code="8716-3" codeSystem="2.16.840.1.113883.6.1" displayName="VITAL SIGNS"/><text/>
      <entry><observation><code displayName="体温"/><effectiveTime value="202501020800"/>
        <value xsi:type="PQ" value="36.50" unit="℃"/></observation></entry>
      <entry><organizer><component><observation><code displayName="收缩压"/>
        <value xsi:type="PQ" value="120" unit="mmHg"/></observation></component><component><observation>
        <code displayName="舒张压"/><value xsi:type="PQ" value="80" unit="mmHg"/></observation></component></organizer></entry>
      <entry><observation><code displayName="诊断编码"/>
        <value xsi:type="CD" code="I10" codeSystem="1.2" displayName="高血压"/></observation></entry>
      <entry><observation><code displayName="过敏史标志"/><value xsi:type="BL" value="false"/></observation></entry>
      <entry><observation><code displayName="住院总费用"/><value xsi:type="MO" value="12.50" currency="元"/></observation></entry>"""

    page = view(section)

    assert page.sections[0].title == "生命体征"
    assert cda.blocks_text(page.sections[0].blocks).splitlines() == [
        "体温: 36.50 ℃ 2025-01-02 08:00",
        "收缩压: 120 mmHg",
        "舒张压: 80 mmHg",
        "诊断编码: 高血压 (I10)",
        "过敏史标志: 否",
        "住院总费用: 12.50 元",
    ]


def test_a_unit_that_stands_in_an_entry_of_its_own_is_put_behind_its_number():
    section = """<text/><entry><observation><code displayName="检验定量结果"/><value xsi:type="REAL" value="6.30"/>
      <entryRelationship><observation><code code="DE04.30.016.00" displayName="计量单位"/>
      <value xsi:type="ST">mmol/L</value></observation></entryRelationship></observation></entry>"""

    assert lines(section) == ["检验定量结果: 6.30 mmol/L"]


def test_drugs_operations_and_people_read_as_lines():
    section = """<text/><entry><substanceAdministration><routeCode displayName="口服"/><doseQuantity value="0.5" unit="g"/>
      <consumable><manufacturedProduct><manufacturedLabeledDrug><code/><name>虚构片</name></manufacturedLabeledDrug>
      </manufacturedProduct></consumable></substanceAdministration></entry>
      <entry><procedure><code code="47.0100" displayName="阑尾切除术" codeSystem="2.16.156.10011.2.3.3.12"/>
      <performer><assignedEntity><assignedPerson><name>医生丁</name></assignedPerson></assignedEntity></performer>
      </procedure></entry>"""

    assert lines(section) == [
        "用药: 虚构片",
        "  单次剂量: 0.5 g",
        "  途径: 口服",
        "手术操作: 阑尾切除术 (47.0100)",
        "  执行者: 医生丁",
    ]


def test_ranges_flags_and_denials_are_shown():
    section = """<text/><entry><observation><code displayName="血糖"/><value xsi:type="PQ" value="9" unit="mmol/L"/>
      <interpretationCode code="H" displayName="偏高"/><referenceRange><observationRange><value xsi:type="IVL_PQ">
      <low value="3.9" unit="mmol/L"/><high value="6.1" unit="mmol/L"/></value></observationRange></referenceRange>
      </observation></entry><entry><observation negationInd="true"><code displayName="过敏"/>
      <value xsi:type="ST">青霉素</value></observation></entry>
      <entry><observation><code displayName="病毒载量"/><value xsi:type="IVL_PQ"><high value="20" unit="/mL" inclusive="false"/>
      </value></observation></entry>"""

    assert lines(section) == [
        "血糖: 9 mmol/L 偏高 3.9 – 6.1 mmol/L",
        "过敏: 无：青霉素",
        "病毒载量: ＜ 20 /mL",
    ]


def test_narrative_keeps_its_shape():
    section = """<title>用药</title><text>先前<br/>两行
      <paragraph>一段 <content styleCode="Bold">粗体</content> 文字</paragraph>
      <list listType="ordered"><item>甲</item><item>乙<list><item>乙一</item></list></item></list>
      <table border="1"><caption>表</caption><thead><tr><th colspan="2">项目</th></tr></thead>
      <tbody><tr><td>钾</td><td>4.1<sup>*</sup></td></tr></tbody></table></text>"""

    blocks = view(section).sections[0].blocks

    assert [block.kind for block in blocks] == ["paragraph", "paragraph", "list", "table"]
    assert blocks[0].text == "先前\n两行"
    assert blocks[1].text == "一段 粗体 文字"
    assert blocks[2].ordered
    assert blocks[2].items[1][1].items[0][0].text == "乙一"
    assert (blocks[3].caption, blocks[3].head[0][0].columns) == ("表", 2)
    assert blocks[3].rows[0][1].text == "4.1*"


def test_lines_of_a_plain_text_section_stay_lines():
    assert lines("<text>第一行\n第二行</text>") == ["第一行", "第二行"]


def test_coded_entries_are_there_beside_a_narrative():
    section = "<text>体温正常</text><entry><observation><code displayName='体温'/><value xsi:type='ST'>36</value></observation></entry>"

    page = view(section)

    assert cda.blocks_text(page.sections[0].blocks) == "体温正常"
    assert [(one.title, one.value) for one in page.sections[0].entries] == [("体温", "36")]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("&lt;p&gt;一&lt;/p&gt;&lt;p&gt;二&lt;/p&gt;", "一\n\n二"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;安全", "alert(1)安全"),
        ("<![CDATA[<b>重</b>点<br/>完]]>", "重点\n完"),
        ("&lt;scr&lt;b&gt;ipt&gt;x", "x"),
        ("a&lt;b and c&gt;d", "a<b and c>d"),
        ("白细胞&lt;4.0", "白细胞<4.0"),
        ('&lt;img src=x onerror="alert(1)"&gt;图', "图"),
    ],
)
def test_markup_written_as_text_is_taken_out_and_comparisons_stay(written, read):
    assert cda.blocks_text(view(f"<text>{written}</text>").sections[0].blocks) == read
    entry = f'<text/><entry><observation><code displayName="说明"/><value xsi:type="ST">{written}</value></observation></entry>'
    assert view(entry).sections[0].entries[0].value == read


def test_links_are_text_and_scripts_are_not_followed():
    section = '<text><linkHtml href="javascript:alert(1)">说明</linkHtml><renderMultiMedia referencedObject="x"/></text>'

    page = view(section)

    assert cda.blocks_text(page.sections[0].blocks) == "说明"
    assert "javascript" not in repr(dataclasses.asdict(page))


def body(text, attributes):
    data = f"{HEADER}<component><nonXMLBody><text {attributes}>{text}</text></nonXMLBody></component></ClinicalDocument>"
    return cda.view(cda.parse(data.encode()))


def test_a_body_that_is_a_file_is_named_and_a_text_is_shown():
    assert body("JVBERi0=", 'mediaType="application/pdf" representation="B64"').attachment == (
        "附有文件（application/pdf，5 字节）"
    )
    assert (
        "链接"
        in body('<reference value="http://example.invalid/a.pdf"/>', 'mediaType="application/pdf"').attachment
    )
    assert (
        cda.blocks_text(body("第一段\n\n第二段", 'mediaType="text/plain"').sections[0].blocks)
        == "第一段\n第二段"
    )
    encoded = body("5q2j5paH", 'mediaType="text/plain" representation="B64"')
    assert cda.blocks_text(encoded.sections[0].blocks) == "正文"


def test_a_view_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        view("<text>x</text>").title = "y"
