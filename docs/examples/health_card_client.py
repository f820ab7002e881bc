"""A client of Kangshu's health card interface (电子健康卡), to run and to copy from.

    pip install cryptography        # only where Python's OpenSSL comes without SM3
    export KANGSHU_KEY=ks-...  KANGSHU_SECRET=...        # of `kangshu clients sign CLIENT_ID`
    python health_card_client.py --url http://127.0.0.1:8000 echo text=hello
    python health_card_client.py register name=测试甲 idType=01 idNumber=990101199003078512 sex=1
    python health_card_client.py dynamic-code healthCardId=...
    python health_card_client.py scan qrCodeText=... scene=register

Every request is signed: HMAC-SM3, keyed with the UTF-8 bytes of the secret, over eight lines, each ended by
LF: KANGSHU1, method, path, query, key id, time (milliseconds since 1970), nonce, SM3 of the body (hex).

All people here are fictional; division codes 99xxxx exist nowhere.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest of `data`."""
    try:
        return hashlib.new("sm3", data).digest()
    except ValueError:
        from cryptography.hazmat.primitives import hashes

        digest = hashes.Hash(hashes.SM3())
        digest.update(data)
        return digest.finalize()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """Return the HMAC-SM3 of `data`."""
    try:
        return hmac.new(key, data, "sm3").digest()
    except ValueError:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives import hmac as packaged

        code = packaged.HMAC(key, hashes.SM3())
        code.update(data)
        return code.finalize()


def signed_headers(*, path: str, body: bytes, key: str, secret: str) -> dict[str, str]:
    """Return the headers of a signed POST; a nonce is used once."""
    moment = str(time.time_ns() // 1_000_000)
    nonce = secrets.token_urlsafe(18)
    lines = ("KANGSHU1", "POST", path, "", key, moment, nonce, sm3(body).hex())
    text = "".join(f"{line}\n" for line in lines).encode()
    return {
        "Content-Type": "application/json",
        "X-Kangshu-Key": key,
        "X-Kangshu-Time": moment,
        "X-Kangshu-Nonce": nonce,
        "X-Kangshu-Signature": hmac_sm3(secret.encode(), text).hex(),
    }


class HealthCards:
    """The interface of one platform for one institution's machine."""

    def __init__(self, *, url: str, key: str, secret: str, timeout: float = 10.0) -> None:
        self._url, self._key, self._secret, self._timeout = url.rstrip("/"), key, secret, timeout

    def call(self, operation: str, **members: Any) -> Any:
        """Return the answer of an operation (`register`, `scan`, `uses` ...).

        Raises:
            HealthCardError: the platform refused; `problem` is what it says (RFC 9457).
        """
        path = f"/cards/{operation}"
        body = json.dumps(members, ensure_ascii=False).encode()
        headers = signed_headers(path=path, body=body, key=self._key, secret=self._secret)
        request = urllib.request.Request(self._url + path, data=body, headers=headers, method="POST")  # noqa: S310 - the address is the caller's own
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise HealthCardError(error.code, json.load(error)) from None


class HealthCardError(Exception):
    """The platform refused a request."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail', '')}")
        self.status, self.problem = status, problem


def _member(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    if not value:
        raise argparse.ArgumentTypeError("members are written name=value")
    if value in ("true", "false") or value[0] in "[{" or name == "applyType":
        return name, json.loads(value)
    return name, value


def main() -> int:
    """Make one call and print its answer."""
    parser = argparse.ArgumentParser(description="One call to the health card interface")
    parser.add_argument("--url", default=os.environ.get("KANGSHU_URL", "http://127.0.0.1:8000"))
    parser.add_argument("operation", help="register, dynamic-code, scan, uses ... (see /docs)")
    parser.add_argument("members", nargs="*", type=_member, help="members of the body: name=value")
    words = parser.parse_args()
    try:
        key, secret = os.environ["KANGSHU_KEY"], os.environ["KANGSHU_SECRET"]
    except KeyError as missing:
        parser.error(f"set {missing.args[0]}")
    cards = HealthCards(url=words.url, key=key, secret=secret)
    try:
        answer = cards.call(words.operation, **dict(words.members))
    except HealthCardError as refusal:
        json.dump(refusal.problem, sys.stderr, ensure_ascii=False, indent=2)
        return 1
    json.dump(answer, sys.stdout, ensure_ascii=False, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
