"""The texts that QR codes carry: made, read and pictured. Pure.

    static   <card id>:<suffix>                                        66 characters
    dynamic  hex(SM4-ECB(<card id>:<suffix>YYYYMMDDHHMMSS)) + mac     176 characters
    signed   <card id>:<suffix>YYYYMMDDHHMMSS + SM2 signature + mac   224 characters

The encrypted part of a dynamic code is that of the specification: 80 characters are five blocks exactly.
Under ECB alone whoever had two codes could put the end of one behind the card of the other, so 8 bytes of
HMAC-SM3 follow it, as they follow the signed form; a code that this region did not make is known without
asking the database. Everything is capitals and digits, which QR codes carry at 5.5 bits a character.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from zoneinfo import ZoneInfo

import segno

from kangshu.healthcard.model import CodeKind, OfflineCode, Refusal
from kangshu.security.sm import hmac_sm3, sm2_sign, sm2_verify, sm3, sm4_ecb_decrypt, sm4_ecb_encrypt

_MAC_BYTES = 8
_MAC = 2 * _MAC_BYTES
_STATIC = re.compile(r"([0-9A-F]{64}):([0-9A-Z])", re.ASCII)
_CONTENT = re.compile(r"([0-9A-F]{64}):([0-9A-Z])([0-9]{14})", re.ASCII)
_DYNAMIC = re.compile(r"[0-9A-F]{176}", re.ASCII)
_SIGNED = re.compile(r"([0-9A-F]{64}:[0-9A-Z][0-9]{14})([0-9A-F]{128})([0-9A-F]{16})", re.ASCII)
_TEXT_MOST = 300  # longer than any code
_END = "%Y%m%d%H%M%S"
_ZONE = ZoneInfo("Asia/Shanghai")
_PICTURE_SCALE = 6
_BORDER = 4  # modules of quiet zone, as ISO/IEC 18004 asks


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadCode:
    """What a genuine code says; `mark` is equal for equal codes and tells nothing."""

    kind: CodeKind
    card_id: str = field(repr=False)
    suffix: str
    expires_at: datetime | None
    mark: bytes


def static_text(card_id: str, *, suffix: str) -> str:
    """Return the text of a static code."""
    return f"{card_id}:{suffix}"


def dynamic_text(key: bytes, card_id: str, *, suffix: str, expires_at: datetime, zone: ZoneInfo) -> str:
    """Return the text of a dynamic code that ends at `expires_at` (whole seconds)."""
    hidden = sm4_ecb_encrypt(key, _content(card_id, suffix, expires_at, zone).encode())
    return (hidden + _mac(key, hidden)).hex().upper()


def signed_text(
    key: bytes, private: bytes, card_id: str, *, suffix: str, expires_at: datetime, zone: ZoneInfo
) -> str:
    """Return the text of a code that can be checked offline; it takes some milliseconds."""
    content = _content(card_id, suffix, expires_at, zone)
    signed = content + sm2_sign(private, content.encode()).hex().upper()
    return signed + _mac(key, signed.encode()).hex().upper()


def read_code(text: str, *, code_keys: Sequence[bytes], zone: ZoneInfo) -> ReadCode | Refusal:
    """Return what the code says, or why it is no code of ours; whether it is over is the caller's question.

    Whatever was altered, comes from another region, or was never made, is `Refusal.UNKNOWN`.
    """
    if len(text) > _TEXT_MOST:
        return Refusal.UNREADABLE
    text = text.strip().upper()
    if found := _STATIC.fullmatch(text):
        return ReadCode(
            kind=CodeKind.STATIC, card_id=found[1], suffix=found[2], expires_at=None, mark=_mark(text)
        )
    if _DYNAMIC.fullmatch(text):
        return _read_dynamic(bytes.fromhex(text), code_keys, zone)
    if found := _SIGNED.fullmatch(text):
        signed = (found[1] + found[2]).encode()
        mac = bytes.fromhex(found[3])
        if any([compare_digest(_mac(key, signed), mac) for key in code_keys]):
            return _told(CodeKind.SIGNED, found[1], zone, _mark(text))
        return Refusal.UNKNOWN
    return Refusal.UNREADABLE


def verify_offline(
    *,
    public_keys: Sequence[bytes],
    text: str,
    now: datetime,
    zone: ZoneInfo = _ZONE,
    temporary_suffix: str = "9",
) -> OfflineCode | None:
    """Return what a signed code says if one of the keys made it, else None.

    It cannot tell whether the card was reported lost or cancelled since, nor whether the code was shown
    before: ask the platform as soon as there is a network.
    """
    found = _SIGNED.fullmatch(text.strip().upper()) if len(text) <= _TEXT_MOST else None
    if found is None:
        return None
    signature = bytes.fromhex(found[2])
    if not any(sm2_verify(key, found[1].encode(), signature) for key in public_keys):
        return None
    read = _told(CodeKind.SIGNED, found[1], zone, b"")
    if isinstance(read, Refusal) or read.expires_at is None:
        return None
    return OfflineCode(
        card_id=read.card_id,
        temporary=read.suffix == temporary_suffix,
        expires_at=read.expires_at,
        expired=now >= read.expires_at,
    )


def code_svg(text: str) -> str:
    """Return the QR code as an SVG document that scales to its place."""
    out = io.BytesIO()
    _picture(text).save(out, kind="svg", border=_BORDER, omitsize=True, xmldecl=False)
    return out.getvalue().decode().strip()


def code_png(text: str) -> bytes:
    """Return the QR code as a PNG picture."""
    out = io.BytesIO()
    _picture(text).save(out, kind="png", scale=_PICTURE_SCALE, border=_BORDER)
    return out.getvalue()


def _picture(text: str) -> segno.QRCode:
    # M: a telephone's scratched screen; the higher levels make modules too small for cheap scanners.
    return segno.make_qr(text, error="m", boost_error=False)


def _content(card_id: str, suffix: str, expires_at: datetime, zone: ZoneInfo) -> str:
    return f"{card_id}:{suffix}{expires_at.astimezone(zone).strftime(_END)}"


def _read_dynamic(data: bytes, code_keys: Sequence[bytes], zone: ZoneInfo) -> ReadCode | Refusal:
    hidden, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    for key in code_keys:
        if compare_digest(_mac(key, hidden), mac):
            content = sm4_ecb_decrypt(key, hidden).decode("ascii", "replace")
            return _told(CodeKind.DYNAMIC, content, zone, _mark(data.hex()))
    return Refusal.UNKNOWN


def _told(kind: CodeKind, content: str, zone: ZoneInfo, mark: bytes) -> ReadCode | Refusal:
    found = _CONTENT.fullmatch(content)
    if found is None:
        return Refusal.UNKNOWN
    try:
        end = _moment(found[3], zone)
    except (ValueError, OverflowError):
        return Refusal.UNKNOWN
    return ReadCode(kind=kind, card_id=found[1], suffix=found[2], expires_at=end, mark=mark)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    # Four times as fast as strptime, and every scan pays for it.
    parts = (text[:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:])
    year, month, day, hour, minute, second = map(int, parts)
    return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)


def _mac(key: bytes, data: bytes) -> bytes:
    # Another key than the cipher's would be the text book's way; SM4 and HMAC-SM3 share nothing.
    return hmac_sm3(b"kangshu-code-mac-1" + key, data)[:_MAC_BYTES]


def _mark(text: str) -> bytes:
    return sm3(text.encode())[:16]
