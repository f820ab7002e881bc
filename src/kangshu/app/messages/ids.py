"""Ids of resources: they follow from what the resource is about, and nobody can guess them."""

from __future__ import annotations

import hashlib

from kangshu.mapping import MakeId
from kangshu.security.keys import Keys

_ID_BYTES = 15  # 30 characters, and room for more resources than a country will ever have


def id_maker(keys: Keys) -> MakeId:
    """Return the function that names resources; equal keys give equal ids on one installation only."""
    # The look-up key's first use is HMAC-SM3; the context makes these digests a family of their own.
    seed = hashlib.blake2b(keys.lookup_key, digest_size=32, person=b"kangshu-ids").digest()

    def make_id(type: str, key: str) -> str:  # noqa: A002 - the protocol's word, and FHIR's
        return hashlib.blake2b(f"{type}|{key}".encode(), digest_size=_ID_BYTES, key=seed).hexdigest()

    return make_id
