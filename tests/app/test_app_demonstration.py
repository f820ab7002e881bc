"""When the demonstration's files and messages are told to have arrived, and whose they are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from kangshu.app.demonstration import arrival_of
from kangshu.app.files import institution_of_folder

HOSPITAL = "99000101599010211A1001"
NOW, START = datetime(2026, 5, 20, tzinfo=UTC), date(2026, 1, 1)


def test_messages_belong_to_the_institution_whose_folder_holds_them():
    folder = Path("submissions") / HOSPITAL

    assert institution_of_folder(folder / "messages" / "2026-04-03_adt.hl7") == HOSPITAL
    assert institution_of_folder(folder / "visits_2026-04.csv") == HOSPITAL
    assert institution_of_folder(folder / "drafts" / "visits_2026-04.csv") is None


def test_messages_arrive_on_their_day_and_tables_later():
    folder = Path("submissions") / HOSPITAL

    said = arrival_of(folder / "messages" / "2026-04-03_adt.hl7", now=NOW, start=START)
    sent = arrival_of(folder / "charge_item_2026-04.csv", now=NOW, start=START)

    assert said.date() == date(2026, 4, 3)
    assert sent.date() >= date(2026, 5, 1)


def test_nothing_arrives_after_now():
    late = Path("submissions") / HOSPITAL / "messages" / "2026-05-31_adt.hl7"

    assert arrival_of(late, now=NOW, start=START) == NOW
