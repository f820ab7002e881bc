"""The health card interface in the OpenAPI description, out of the table of operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kangshu.api.cards.acts import OPERATIONS
from kangshu.api.cards.asking import Operation
from kangshu.api.problems import MEDIA_TYPE
from kangshu.security.signing import KEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER

_HEADERS: Mapping[str, str] = {
    KEY_HEADER: "the signing key's id (ks-...)",
    TIME_HEADER: "the moment of signing, milliseconds since 1970, within five minutes of ours",
    NONCE_HEADER: "16 to 64 letters, digits, - or _, new for each request",
    SIGNATURE_HEADER: "HMAC-SM3 or SM2 (r || s, or DER) over the eight lines KANGSHU1, method, path, query, "
    "key id, time, nonce, SM3 of the body; hexadecimal",
}
_ANSWERS: Mapping[str, str] = {
    "401": "A header of the signature is missing or malformed, the moment is not now, the signature does not "
    "fit, or the request was received before: `error` says header, time, signature or replay",
    "403": "The key has no scope for this, or the call names another institution",
    "404": "No card is known under this: unknown, altered and foreign look the same",
    "422": "A member is missing or has another form; `place` names it",
    "429": "Too many calls, or too many questions that led to no card",
}


def card_paths() -> dict[str, Any]:
    """Return the path items of the interface, to be put beside the others."""
    return {f"/cards{one.path}": {"post": _described(one)} for one in OPERATIONS}


def card_schemas() -> dict[str, Any]:
    """Return the shapes of the calls, for `components/schemas`."""
    _, shapes = msgspec.json.schema_components(
        [one.call for one in OPERATIONS], ref_template="#/components/schemas/{name}"
    )
    return shapes


def _described(operation: Operation) -> dict[str, Any]:
    about = operation.about
    if operation.may is not None:
        about += f" Needs the scope `{operation.scope}`."
    gives = ", ".join(f"`{name}` {what}" for name, what in operation.gives.items())
    return {
        "tags": ["cards"],
        "operationId": f"cards{operation.path.replace('/', '-')}",
        "summary": operation.title,
        "description": f"{about} Answers {gives}.",
        "parameters": [
            {
                "name": "-".join(word.capitalize() for word in name.split("-")),
                "in": "header",
                "required": True,
                "description": what,
                "schema": {"type": "string"},
            }
            for name, what in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{operation.call.__name__}"},
                    "example": operation.example,
                }
            },
        },
        "responses": {
            "200": {
                "description": "Done",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                name: {"description": what} for name, what in operation.gives.items()
                            },
                        }
                    }
                },
            },
            **{
                status: {"description": what, "content": {MEDIA_TYPE: {}}}
                for status, what in _ANSWERS.items()
                if status != "404" or operation.guessed
            },
        },
    }
