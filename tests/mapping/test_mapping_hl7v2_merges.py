"""What merges become. All people in these tests are synthetic."""

import pytest
from hl7v2_messages import PATIENT, mapped, noted, only

from kangshu.mapping import MappingError


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A39", "A40", "A47"])
def test_a_merge_names_who_stays_and_who_is_absorbed(event):
    result = mapped(f"ADT^{event}", PATIENT, "MRG|P0^^^^PI||||||张^三")
    (merge,) = result.merges

    assert [one.value for one in merge.survivor.identifiers] == ["P1", "990101198001011238"]
    assert [one.value for one in merge.absorbed.identifiers] == ["P0"]
    assert merge.absorbed.name == "张三"
    assert only(result, "Patient")["id"]


def test_one_message_may_merge_several_pairs():
    result = mapped("ADT^A40", "PID|||P1", "MRG|P0", "PID|||P3", "MRG|P2")
    pairs = [
        (merge.survivor.identifiers[0].value, merge.absorbed.identifiers[0].value) for merge in result.merges
    ]

    assert pairs == [("P1", "P0"), ("P3", "P2")]


def test_linked_patients_are_one_person():
    (merge,) = mapped("ADT^A24", "EVN|A24|20240101", "PID|||P1", "PID|||P2").merges

    assert merge.survivor.identifiers[0].value == "P1"
    assert merge.absorbed.identifiers[0].value == "P2"


@pytest.mark.parametrize(
    ("segments", "place"), [((), "MRG"), (("MRG|",), "MRG-1"), (("MRG|^^^^PI",), "MRG-1")]
)
def test_a_merge_that_does_not_say_who_is_absorbed_is_refused(segments, place):
    with pytest.raises(MappingError) as caught:
        mapped("ADT^A40", PATIENT, *segments)

    assert caught.value.place == place


def test_a_merge_of_a_number_with_itself_is_noted_and_does_nothing():
    result = mapped("ADT^A40", PATIENT, "MRG|P1^^^^PI")

    assert result.merges == ()
    assert noted(result) == {"MRG-1"}


def test_a_merge_of_accounts_merges_no_persons():
    assert mapped("ADT^A41", PATIENT, "MRG|P0||A0").merges == ()
