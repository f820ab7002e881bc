"""Make the tables of Chinese characters that names are compared with (`kangshu.identity.linkage.tables`).

    .venv/bin/python scripts/hanzi_tables.py

Needs pypinyin (MIT) and OpenCC (Apache-2.0), which the platform itself does not. `readings.txt` has for each
syllable with its tone the characters that are read so (the commonest reading of each); `variants.txt` has
for each simplified character the traditional and variant forms, and the private code points that old systems
use for it. The same versions give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import opencc
from pypinyin import Style, pinyin
from pypinyin.constants import PINYIN_DICT

TARGET = Path(__file__).parents[1] / "src" / "kangshu" / "identity" / "linkage" / "tables"
HANZI = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0x20000, 0x2A6E0), range(0x2A700, 0x32000))
CONVERTERS = ("t2s", "tw2s", "hk2s")
# Variant forms that OpenCC leaves: shapes of one character, not other characters that are read alike.
MORE_VARIANTS = {
    "俊": "儁",
    "峰": "峯",
    "群": "羣",
    "淑": "俶",
    "吴": "吳呉",
    "吕": "呂",
    "强": "強",
    "黄": "黃",
    "吉": "𠮷",
}
# Names in which the simplified character is another one are left alone: both occur in today's registers.
NOT_VARIANTS = set("乾夥藉瞭麽陞昇堃喆淼珺闇")
SIMULATION = Path(__file__).parents[1] / "src" / "kangshu" / "simulation" / "tables"
PRIVATE_FIRST = 0xE815
"""Where Windows put the characters of GB 18030 that its code page 936 lacked: 0xFE50 and following."""


def main() -> None:
    """Write both tables."""
    TARGET.mkdir(parents=True, exist_ok=True)
    variants = _variants()
    _write("readings.txt", _readings())
    _write("variants.txt", variants)
    _write_pinyin()


def _write_pinyin() -> None:
    """Write how the characters of simulated names are read: a table of the simulation's own."""
    names = (SIMULATION / "names.toml").read_text(encoding="utf-8")
    characters = sorted({one for one in names if any(ord(one) in block for block in HANZI)})
    reads = {one: pinyin(one, style=Style.NORMAL, v_to_u=False)[0][0] for one in characters} | {"𠮷": "ji"}
    lines = [f"{one},{read}\n" for one, read in reads.items()]
    (SIMULATION / "pinyin.csv").write_text("character,reading\n" + "".join(lines), encoding="utf-8")


def _readings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for code in sorted(PINYIN_DICT):
        if not any(code in block for block in HANZI):
            continue
        reading = pinyin(chr(code), style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False)[0][0]
        if reading.isascii() and reading[:-1].isalpha() and reading[-1].isdigit():
            found[reading].append(chr(code))
    return found


def _variants() -> dict[str, list[str]]:
    converters = [opencc.OpenCC(name) for name in CONVERTERS]
    found: dict[str, list[str]] = defaultdict(list)
    for block in HANZI:
        for code in block:
            simple = _simplified(chr(code), converters)
            if simple != chr(code):
                found[simple].append(chr(code))
    for simple, others in MORE_VARIANTS.items():
        found[simple] += [one for one in others if one not in found[simple]]
    for private, meant in _private().items():
        found[meant].append(private)
    return found


def _simplified(character: str, converters: list[opencc.OpenCC]) -> str:
    if character in NOT_VARIANTS:
        return character
    for converter in converters:
        simple = converter.convert(character)
        if len(simple) == 1 and simple != character:
            return simple
    return character


def _private() -> dict[str, str]:
    """Return the private code points and what GB 18030 says of the same bytes."""
    trails = [trail for trail in range(0x50, 0xA1) if trail != 0x7F]
    decoded = {
        chr(PRIVATE_FIRST + place): bytes((0xFE, trail)).decode("gb18030", errors="replace")
        for place, trail in enumerate(trails)
    }
    return {
        private: meant for private, meant in decoded.items() if any(ord(meant) in block for block in HANZI)
    }


def _write(name: str, groups: dict[str, list[str]]) -> None:
    lines = [f"{head}\t{''.join(sorted(set(members)))}\n" for head, members in sorted(groups.items())]
    (TARGET / name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
