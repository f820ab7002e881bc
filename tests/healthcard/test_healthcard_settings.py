"""The declaration of health cards: read, checked, refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kangshu.declarations import BASE_PACK
from kangshu.healthcard import Holder, Reuse, SettingsError, load_settings, view_of
from kangshu.healthcard.masking import mask_number, mask_phone, mask_tail

BASE = (BASE_PACK / "healthcard.toml").read_text(encoding="utf-8")


def test_the_base_pack_declares_the_scenes_of_a_visit():
    settings = load_settings()
    assert {"register", "consult", "examine", "collect", "pay", "view"} <= set(settings.scenes)
    assert settings.reuse is Reuse.SAME_TERMINAL
    found = settings.scene_of("10101")
    assert found is not None
    assert found.key == "register"


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("dynamic_seconds = 300", "dynamic_seconds = 1", "codes.dynamic_seconds"),
        ("dynamic_seconds = 300", "", "codes.dynamic_seconds"),
        ('region = "990000"', 'region = "somewhere"', "card.region"),
        ('reuse = "same-terminal"', 'reuse = "often"', "codes.reuse"),
        ('zone = "Asia/Shanghai"', 'zone = "Asia/Nowhere"', "codes.zone"),
        ('temporary_suffix = "9"', 'temporary_suffix = "1"', "codes.temporary_suffix"),
        ("{document_type}{document_number}{name}", "{name}", "card.index_text"),
        ("{document_type}{document_number}{name}", "{document_number}{phone}", "card.index_text"),
        ('document_number = "masked"', 'document_number = "clear"', "document_number"),
        ('on_card = ["11", "12"]', 'on_card = ["13"]', "use.on_card"),
        ("guardian_ways = [1, 2, 3]", "guardian_ways = [7]", "card.guardian_ways"),
        ('key = "consult"', 'key = "register"', "[[scene]] 2"),
        ("temporary_days = 30", "temporary_days = true", "card.temporary_days"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(tmp_path: Path, before: str, after: str, place: str):
    assert before in BASE
    path = tmp_path / "healthcard.toml"
    path.write_text(BASE.replace(before, after), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert place in str(caught.value)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path):
    path = tmp_path / "healthcard.toml"
    path.write_bytes(b"\xff = [")
    with pytest.raises(SettingsError):
        load_settings(path)


def test_no_view_shows_a_full_number_or_phone():
    holder = Holder(
        name="测试甲",
        document_type="01",
        document_number="990101199003070014",
        phone="19900001234",
        nation="01",
    )
    settings = load_settings()
    for role in [*settings.views, "nobody"]:
        view = view_of(settings, holder=holder, role=role)
        assert view.document_number in (None, "990101********0014")
        assert view.phone in (None, "199****1234")
    assert view_of(settings, holder=holder, role="nobody").name is None
    assert view_of(settings, holder=holder, role="window").name == "测试甲"
    assert view_of(settings, holder=holder, role="terminal").name == "测**"


def test_short_numbers_are_masked_whole_or_nearly():
    assert [mask_number("A1"), mask_phone("123"), mask_tail("12")] == ["**", "***", "**"]
