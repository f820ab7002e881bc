"""The two numbers of a card: the main index id (主索引ID) and the card id (电子健康卡ID). Pure.

The index id is one SM3 digest of who somebody is. The card id is the document number under a key that is
diversified from the region's root key by the index id. Both are 64 hexadecimal digits in capitals. The
algorithm is that of the technical specification as public test vectors tell it; what it leaves open (the text
under the digest, numbers given again after a cancellation) is said at the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kangshu.security.sm import sm3, sm4_ecb_decrypt, sm4_ecb_encrypt

CARD_BYTES = 32
"""Two cipher blocks. The specification pads to whole blocks and shows 64 digits; shorter numbers get both."""
NUMBER_BYTES_MOST = CARD_BYTES - 3
"""Less the two digits of the kind and the count of the issue."""
ISSUES_MOST = 255

_HEX = re.compile(r"[0-9A-F]{64}")


def index_id(text: str, values: Mapping[str, str]) -> str:
    """Return the index id: SM3 of the declared `text` with its places filled from `values`.

    >>> index_id("{name}", {"name": "abc"})[:16]
    '66C7F0F462EEEDD9'
    """
    return sm3(text.format_map(values).encode("utf-8", "replace")).hex().upper()


def diversification(index: str) -> bytes:
    """Return the eight bytes F of an index id: its four groups of eight, one laid on the other by XOR."""
    groups = bytes.fromhex(index)
    number = 0
    for place in range(0, len(groups), 8):
        number ^= int.from_bytes(groups[place : place + 8])
    return number.to_bytes(8)


def application_key(root: bytes, index: str) -> bytes:
    """Return the key of one card: SM4 of F and its complement under the root key."""
    factor = diversification(index)
    return sm4_ecb_encrypt(root, factor + bytes(byte ^ 0xFF for byte in factor))


def card_id(root: bytes, index: str, *, type_code: str, number: str, issue: int = 0) -> str:
    """Return the card id: kind and number of the document, zero padded, under the card's key.

    A card that was cancelled must not come back to life when its holder applies anew, so the last byte of the
    padding counts the issues; the first one is zero, as in the specification.

    Raises:
        ValueError: the number is too long, or was issued too often.
    """
    text = (type_code + number).encode()
    if len(text) > CARD_BYTES - 1 or not 0 <= issue <= ISSUES_MOST:
        raise ValueError("a card id holds 31 bytes and 255 issues")
    plain = text.ljust(CARD_BYTES - 1, b"\0") + bytes([issue])
    return sm4_ecb_encrypt(application_key(root, index), plain).hex().upper()


def document_of(root: bytes, index: str, card: str) -> tuple[str, str]:
    """Return kind and number of the document that a card id hides, for whoever has root key and index id."""
    plain = sm4_ecb_decrypt(application_key(root, index), bytes.fromhex(card))
    text = plain[:-1].rstrip(b"\0").decode("utf-8", "replace")
    return text[:2], text[2:]


def is_number(text: str) -> bool:
    """Return whether the text has the form of an index id or card id."""
    return _HEX.fullmatch(text) is not None
