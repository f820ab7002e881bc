"""Value sets of the pack, looked up for people."""

from __future__ import annotations

import pytest

from kangshu.declarations import load_pack
from kangshu.terminology import UnknownValueSetError, children_of, title_in, title_of, value_set


def test_a_value_set_is_a_table_of_the_pack():
    assert [code.code for code in value_set(pack=load_pack(), name="sex").codes] == ["0", "1", "2", "9"]


def test_a_value_set_that_is_not_declared_is_named_in_the_refusal():
    with pytest.raises(UnknownValueSetError, match="shoe_size"):
        value_set(pack=load_pack(), name="shoe_size")


def test_a_code_has_a_title_in_the_language_asked_for():
    pack = load_pack()

    assert title_in("zh", pack=pack, name="discharge", code="5") == "死亡"
    assert title_in("en", pack=pack, name="discharge", code="5") == "Died"


def test_a_code_outside_the_table_stands_for_itself():
    pack = load_pack()

    assert title_of(pack=pack, name="discharge", code="7") is None
    assert title_in("zh", pack=pack, name="discharge", code="7") == "7"


def test_a_tree_is_walked_from_its_top():
    pack = load_pack()

    assert [code.code for code in children_of(pack=pack, name="rc013")] == ["01", "02", "03", "04", "99"]
    assert [code.code for code in children_of(pack=pack, name="rc013", code="02")] == ["0201", "0202"]
