"""The key file: made once, kept private, refused when damaged."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from kangshu.security import keys
from kangshu.security.errors import KeysUnreadableError


def test_the_first_call_makes_the_keys_and_the_next_finds_the_same(tmp_path: Path):
    made = keys.load_or_create(tmp_path / "keys", random=os.urandom)

    assert keys.load_or_create(tmp_path / "keys", random=os.urandom) == made
    assert keys.load(tmp_path / "keys") == made


def test_only_the_owner_can_open_the_file_and_nothing_else_is_left_beside_it(tmp_path: Path):
    keys.load_or_create(tmp_path / "keys", random=os.urandom)

    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_processes_that_start_together_end_with_the_same_keys(tmp_path: Path):
    found: list[keys.Keys] = []
    threads = [
        threading.Thread(target=lambda: found.append(keys.load_or_create(tmp_path, random=os.urandom)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({entry.data_key for entry in found}) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [keys.FILE_NAME]


def test_no_secret_shows_in_the_representation():
    made = keys.make(random=os.urandom)

    for secret in (made.data_key, made.lookup_key, made.anchor_key, made.session_key, made.sm2_private):
        assert repr(secret) not in repr(made)
        assert secret.hex() not in repr(made)


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(KeysUnreadableError, match=r"keys\.json"):
        keys.load(tmp_path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    keys.load_or_create(tmp_path, random=os.urandom)
    (tmp_path / keys.FILE_NAME).chmod(0o640)

    with pytest.raises(KeysUnreadableError, match="chmod 600"):
        keys.load_or_create(tmp_path, random=os.urandom)


def _damage_length(document: dict[str, object]) -> object:
    return document | {"data_key": "00"}


def _damage_pair(document: dict[str, object]) -> object:
    return document | {"sm2_private": "01" * 32}


def _drop_one(document: dict[str, object]) -> object:
    return {name: value for name, value in document.items() if name != "anchor_key"}


def _wrong_type(document: dict[str, object]) -> object:
    return document | {"anchor_key": 7}


@pytest.mark.parametrize("damage", [_damage_length, _damage_pair, _drop_one, _wrong_type, lambda _: [], str])
def test_a_damaged_file_is_refused_without_quoting_it(tmp_path: Path, damage):
    made = keys.load_or_create(tmp_path, random=os.urandom)
    path = tmp_path / keys.FILE_NAME
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))

    with pytest.raises(KeysUnreadableError) as refused:
        keys.load(tmp_path)

    assert made.data_key.hex() not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_cut_off_in_the_middle_is_refused(tmp_path: Path):
    keys.load_or_create(tmp_path, random=os.urandom)
    path = tmp_path / keys.FILE_NAME
    path.write_text(path.read_text()[:40])

    with pytest.raises(KeysUnreadableError):
        keys.load(tmp_path)
