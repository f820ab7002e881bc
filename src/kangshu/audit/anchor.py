"""The anchor: the chain's head in a file outside the database, authenticated with a key outside it too.

Who can change every table cannot make an older or rewritten chain look whole again: the anchor remembers
how long the chain was and what its last link was.
"""

from __future__ import annotations

import hmac
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from kangshu.audit.errors import AuditBrokenError
from kangshu.audit.model import Head
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sm import hmac_sm3

say = load_catalogue(__package__ or __name__)


def authenticate(head: Head, *, keys: Keys) -> bytes:
    """Return the head's authentication code: HMAC-SM3 with the anchor key."""
    return hmac_sm3(keys.anchor_key, head.signed_bytes)


def is_authentic(head: Head, *, mac: bytes, keys: Keys) -> bool:
    """Tell whether `mac` is the head's authentication code."""
    return hmac.compare_digest(authenticate(head, keys=keys), mac)


def read_anchor(path: Path, *, keys: Keys) -> Head | None:
    """Return the anchored head, or `None` where there is no file.

    Raises:
        AuditBrokenError: the file is damaged or was not written with this key.
    """
    try:
        document = json.loads(path.read_bytes())
        head = Head(chain=int(document["chain"]), hash=bytes.fromhex(document["hash"]))
        mac = bytes.fromhex(document["mac"])
        authentic = is_authentic(head, mac=mac, keys=keys)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OverflowError):
        authentic = False
        head = None
    if not authentic:
        raise AuditBrokenError(say["anchor_forged"], place=path.name)
    return head


def write_anchor(path: Path, head: Head, *, keys: Keys, now: datetime) -> None:
    """Replace the anchor by `head`; also after a crash the file is wholly the old or the new one."""
    document = {
        "chain": head.chain,
        "hash": head.hash.hex(),
        "sealed_at": now.astimezone(UTC).isoformat(),
        "mac": authenticate(head, keys=keys).hex(),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
