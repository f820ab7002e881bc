"""Takes what identifies a person out of texts that senders wrote freely: reports, remarks, documents."""

from __future__ import annotations

import re
from collections.abc import Mapping


class Mask:
    """Replaces known secrets wherever they stand in a text.

    Only what is known can be found: somebody else's name in a remark stays. Letters and digits around a
    number make it another number, so these are not touched.

    >>> Mask({"张小明": "张**", "A123": "****"})("张小明, A123, A1234")
    '张**, ****, A1234'
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {secret: shown for secret, shown in secrets.items() if secret}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_whole, longest_first))) if longest_first else None

    @classmethod
    def none(cls) -> Mask:
        """Return the mask that hides nothing."""
        return cls({})

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        if self._pattern is None or not text:
            return text
        return self._pattern.sub(lambda found: self._secrets[found[0]], text)

    def and_also(self, secrets: Mapping[str, str]) -> Mask:
        """Return the mask that hides these as well."""
        return Mask({**self._secrets, **secrets})


def _whole(secret: str) -> str:
    before = r"(?<![0-9A-Za-z])" if secret[0].isascii() and secret[0].isalnum() else ""
    after = r"(?![0-9A-Za-z])" if secret[-1].isascii() and secret[-1].isalnum() else ""
    return before + re.escape(secret) + after
