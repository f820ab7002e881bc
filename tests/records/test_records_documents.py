"""Documents are kept to the byte and open with a grant. All persons are numbers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records_samples import NOW, granted

from kangshu.records import (
    ContentDamagedError,
    Document,
    DocumentUnknownError,
    GrantMissingError,
    institutions_of,
    read_document,
    store_documents,
)
from kangshu.records.content import encode, pack, parse, splice, unpack
from kangshu.storage.database import Database

database_test = pytest.mark.database
_TEXT = "<ClinicalDocument>出院小结</ClinicalDocument>".encode("gb18030") * 20


def _document(content: bytes = _TEXT, id_: str = "d", **more: Any) -> Document:
    usual: dict[str, Any] = {"media_type": "text/xml", "person": 1, "institution": "H1", "message": 4}
    return Document(id=id_, content=content, **(usual | more))


@database_test
def test_a_document_is_read_as_it_was_sent(database_run):
    async def scenario(database: Database) -> Any:
        async with database.transaction() as connection:
            versions = await store_documents(connection, documents=[_document()], now=NOW)
        async with database.connection() as connection:
            found = await read_document(connection, id="d")
            with pytest.raises(GrantMissingError):
                found.open(grant=None, now=NOW)
            with pytest.raises(DocumentUnknownError):
                await read_document(connection, id="e")
            assert "出院" not in repr(found)
            known = await institutions_of(connection, persons=[1])
            return (
                versions,
                found.size,
                found.media_type,
                found.open(grant=await granted(connection), now=NOW),
                known,
            )

    assert database_run(scenario) == ([1], len(_TEXT), "text/xml", _TEXT, {"H1"})


@database_test
def test_a_document_sent_again_is_kept_once_and_another_one_is_its_next_version(database_run):
    async def scenario(database: Database) -> Any:
        async with database.transaction() as connection:
            first = await store_documents(connection, documents=[_document(b"1")], now=NOW)
        async with database.transaction() as connection:
            many = [_document(b"2"), _document(b"1"), _document(b"3"), _document(b"2"), _document(b"9", "e")]
            second = await store_documents(connection, documents=many, now=NOW)
            third = await store_documents(connection, documents=[], now=NOW)
            grant = None
        async with database.connection() as connection:
            grant = await granted(connection)
            latest = (await read_document(connection, id="d")).open(grant=grant, now=NOW)
            early = (await read_document(connection, id="d", version=1)).open(grant=grant, now=NOW)
            return first, second, third, latest, early

    assert database_run(scenario) == ([1], [2, 1, 3, 2, 1], [], b"3", b"1")


@database_test
def test_documents_stored_at_the_same_moment_all_get_a_version(database_url):
    async def scenario() -> list[int]:
        async with await Database.open(database_url, max_size=6) as database:

            async def one(number: int) -> int:
                async with database.transaction() as connection:
                    documents = [_document(b"same", "e"), _document(b"%d" % number)]
                    return (await store_documents(connection, documents=documents, now=NOW))[1]

            return await asyncio.gather(*(one(number) for number in range(6)))

    assert sorted(asyncio.run(scenario())) == [1, 2, 3, 4, 5, 6]


@given(data=st.binary(max_size=200).map(lambda piece: piece * 97) | st.binary(max_size=100))
def test_packing_gives_back_the_same_bytes(data: bytes):
    assert unpack(pack(data)) == data


@given(data=st.binary(max_size=60))
def test_what_was_never_packed_is_an_error_or_plain(data: bytes):
    with contextlib.suppress(ContentDamagedError):
        unpack(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(
    resource=st.dictionaries(st.text(min_size=1, max_size=6), _JSON, max_size=5),
    meta=st.none() | st.dictionaries(st.sampled_from(["versionId", "lastUpdated", "profile", "行\n"]), _JSON),
)
def test_a_resource_is_put_together_again_with_what_is_ours_in_it(resource: dict[str, Any], meta: Any):
    import json

    given_ = {**resource, "resourceType": "X", "id": "old"} | ({"meta": meta} if meta is not None else {})
    data = encode(given_)

    made = json.loads(splice(type="Basic", id="new", version=3, updated_at=NOW, data=data))

    ours = {"versionId": "3", "lastUpdated": "2026-03-02T08:30:00.000Z"}
    rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
    assert made == rest | {"resourceType": "Basic", "id": "new", "meta": (meta or {}) | ours}
    assert parse(data) == rest
