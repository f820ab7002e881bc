"""What patients and their relatives become. All people in these tests are synthetic."""

import pytest
from hl7v2_messages import PATIENT, mapped, noted, only, resources

from kangshu.mapping import MappingError


def patient_of(pid: str):
    return only(mapped("ADT^A08", pid), "Patient")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("张^三", [{"family": "张", "given": ["三"], "text": "张三"}]),
        ("张三", [{"text": "张三"}]),
        ("欧阳^小 明", [{"family": "欧阳", "given": ["小 明"], "text": "欧阳小明"}]),
        ("ZhangSan^张三", [{"text": "张三"}, "ZhangSan"]),
        ("张三^zhangsan", [{"text": "张三"}, "zhangsan"]),
        ("张三^^^^^1", [{"text": "张三"}]),
        ("SMITH^JOHN^A^III^DR^MD^L", [{"family": "SMITH", "given": ["JOHN", "A"], "suffix": ["III", "MD"],
                                       "prefix": ["DR"], "use": "official"}]),
        ('""', []),
    ],
)  # fmt: skip
def test_a_name_is_read_as_it_is_meant(name, expected):
    names = patient_of(f"PID|1||P1||{name}").get("name", [])

    assert [one["text"] if "extension" in one else one for one in names] == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("1980", "1980"),
        ("198001", "1980-01"),
        ("19800100", "1980-01"),
        ("19800101", "1980-01-01"),
        ("1980-1-5", "1980-01-05"),
        ("19800101000000", "1980-01-01"),
        ("19800101 ", "1980-01-01"),
        ('""', None),
    ],
)
def test_a_birth_date_is_as_precise_as_it_was_told(sent, expected):
    assert patient_of(f"PID|1||P1||张三||{sent}").get("birthDate") == expected


def test_the_time_of_birth_is_kept_beside_the_date_unless_it_is_the_midnight_of_a_system():
    assert "_birthDate" not in patient_of("PID|1||P1||张三||19800101000000")

    extension = patient_of("PID|1||P1||张三||198001010830")["_birthDate"]["extension"][0]
    assert extension["valueDateTime"] == "1980-01-01T08:30:00+08:00"


@pytest.mark.parametrize("sent", ["Aug 15, 1942", "19801301", "19800230", "63"])
def test_a_birth_date_that_is_none_refuses_the_message_at_its_place(sent):
    with pytest.raises(MappingError) as caught:
        mapped("ADT^A08", f"PID|1||P1||张三||{sent}")

    assert caught.value.place == "PID-7"
    assert sent not in str(caught.value)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("M", "male"), ("1", "male"), ("女", "female"), ("F^女", "female"), ("^男", "male"), ("9", "unknown"),
     ("A", "other")],
)  # fmt: skip
def test_sex_is_read_in_the_codes_of_hl7_and_of_gb_2261(sent, expected):
    assert patient_of(f"PID|1||P1||张三|||{sent}")["gender"] == expected


def test_an_unknown_code_is_left_out_and_noted():
    result = mapped("ADT^A08", "PID|1||P1||张三|||Q")

    assert "gender" not in only(result, "Patient")
    assert noted(result) == {"PID-8"}


def test_numbers_keep_their_authorities_and_what_names_no_person_is_left_out():
    pid = "PID|1|E9|P1^^^H0009^MR~990101198001011238^^^^NI~B12^^^^BED~P1^^^H0009^MR~0||张三"
    identifiers = [(one["system"], one["value"]) for one in patient_of(pid)["identifier"]]

    assert identifiers == [
        ("urn:kangshu:institution:H0009:patient", "P1"),
        ("urn:oid:2.16.156.10011.1.3", "990101198001011238"),
        ("urn:kangshu:institution:H0001:patient", "E9"),
    ]


def test_a_resident_number_in_pid_19_is_one_and_a_placeholder_is_not():
    with_number = patient_of("PID|1||P1||张三||||||||||||||990101198001011238")
    with_filler = patient_of("PID|1||P1||张三||||||||||||||999999999")

    assert [one["value"] for one in with_number["identifier"]] == ["P1", "990101198001011238"]
    assert [one["value"] for one in with_filler["identifier"]] == ["P1"]


@pytest.mark.parametrize("number", ["", "^0000000000^", "0", "-", "无", "NULL", '""', "V1^^^^VN"])
def test_a_patient_without_any_number_is_refused_at_pid_3(number):
    with pytest.raises(MappingError) as caught:
        mapped("ADT^A01", f"PID|1||{number}||张三")

    assert caught.value.place == "PID-3"


def test_a_message_about_a_patient_without_pid_is_refused():
    with pytest.raises(MappingError) as caught:
        mapped("ADT^A01", "PV1|1|I")

    assert caught.value.place == "PID"


def test_the_same_number_is_the_same_patient_whatever_else_is_told():
    first = mapped("ADT^A01", PATIENT)
    second = mapped("ORU^R01", "PID|||P1^^^^PI", "OBR|1||F1|1", "OBX|1|NM|1||5", control="M2")

    assert only(first, "Patient")["id"] == only(second, "Patient")["id"]
    assert first.order_key == second.order_key


def test_the_institutions_own_number_names_the_patient_before_the_states():
    one = mapped("ADT^A01", "PID|||990101198001011238^^^^NI~P1^^^^PI")
    other = mapped("ADT^A01", "PID|||P1^^^^PI")

    assert only(one, "Patient")["id"] == only(other, "Patient")["id"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("13900000000", [("phone", "13900000000", "mobile")]),
        ("^^^^^^13900000000", [("phone", "13900000000", "mobile")]),
        ("(260)555-1234^^^someone@example.com", [("phone", "(260)555-1234", "home"),
                                                 ("email", "someone@example.com", "home")]),
        ("^PRN^PH^^86^731^5550100^12", [("phone", "+86 731 5550100 x12", "home")]),
        ("^WPN^FX^^^731^5550101", [("fax", "731 5550101", "work")]),
        ("0", []),
        ("5550100~5550100", [("phone", "5550100", "home")]),
    ],
)  # fmt: skip
def test_telephones_are_read_in_old_and_new_form(sent, expected):
    telecom = patient_of(f"PID|1||P1||张三||||||||{sent}").get("telecom", [])

    assert [(one["system"], one["value"], one.get("use")) for one in telecom] == expected


def test_an_address_in_one_piece_is_text_and_a_type_alone_is_none():
    pieces = patient_of("PID|1||P1||张三||||||某省某市某区某路1号~1 Some Road^^Town^ST^99999^CN^H~^^^^^^RH")[
        "address"
    ]

    assert pieces[0]["text"] == "某省某市某区某路1号"
    assert pieces[1] == {
        "line": ["1 Some Road"],
        "city": "Town",
        "state": "ST",
        "postalCode": "99999",
        "country": "CN",
        "use": "home",
    }
    assert len(pieces) == 2


def test_the_nation_is_read_from_its_code_or_its_name():
    for sent in ("01", "汉族", "01^汉族", "^^汉族"):
        extension = patient_of(f"PID|1||P1||张三|||||||||||||||||{sent}")["extension"][0]
        assert extension == {"url": "urn:kangshu:field:ethnic", "valueCode": "01"}


def test_death_is_told_by_its_time_or_by_the_indicator():
    assert patient_of("PID|1||P1" + "|" * 26 + "20240101|Y")["deceasedDateTime"] == "2024-01-01"
    assert patient_of("PID|1||P1" + "|" * 27 + "Y")["deceasedBoolean"] is True


def test_a_deleted_person_is_not_active():
    assert only(mapped("ADT^A29", PATIENT), "Patient")["active"] is False


def test_next_of_kin_mother_and_guarantor_are_related_persons():
    result = mapped(
        "ADT^A04",
        PATIENT + "|" * 13 + "MO1^^^^PI",
        "NK1|1|王^五|10^配偶||13900000001",
        "NK1|2||^0",
        "GT1|1||赵^六||||||||SPO",
        "GT1|2||张^三||||||||SEL",
    )
    relations = [
        [one["coding"][0]["code"] for one in person["relationship"]]
        for person in resources(result, "RelatedPerson")
    ]

    assert relations == [["MTH"], ["SPS"], ["GUAR", "SPS"]]


def test_what_is_not_declared_is_noted_by_its_place():
    result = mapped("ADT^A08", PATIENT + "|" * 10 + "ACC1", "ZZZ|1|something")

    assert noted(result) == {"PID-18", "ZZZ"}
