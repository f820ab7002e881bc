"""A row becomes resources and is a row again, for every mapped data set; nobody in these rows is real."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_rows_rows import INSTITUTION, rows_of

from kangshu.declarations import BASE_PACK, load_pack
from kangshu.mapping import Note, load_authorities
from kangshu.mapping.rows import RowMapper

PACK = load_pack()
MAPPER = RowMapper(PACK, load_authorities(BASE_PACK / "authorities.toml"))
DATASETS = sorted(MAPPER.datasets)


@pytest.mark.parametrize("name", DATASETS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_row_that_became_resources_is_read_back_as_it_was(name, data):
    row = data.draw(rows_of(PACK, MAPPER, name))
    notes: list[Note] = []

    resources = MAPPER.to_resources(
        dataset=name, values=row, institution=INSTITUTION, key=f"{name.replace('_', '-')}-1", patient="p1"
    )
    back = MAPPER.to_rows(resources, institution=INSTITUTION, datasets=[name], notes=notes)

    assert [str(note.text) for note in notes] == []
    assert [one.values for one in back] == [row]


@pytest.mark.parametrize("name", DATASETS)
def test_every_required_field_has_its_place(name):
    dataset = PACK.datasets[name]
    required = {field.name for field in dataset.fields if field.obligation == "required"}

    assert required <= MAPPER.mapped_fields(name)
