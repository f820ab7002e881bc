"""What an operation is told: the parameters of its address, or a Parameters resource as its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from kangshu.api.errors import BodyUnsupportedError, ParameterRefusedError, say
from kangshu.api.fhir.asking import Asked
from kangshu.standards import fhir

FORM = "application/x-www-form-urlencoded"
SHOWING = ("_format", "_pretty")
"""Parameters that choose the form, not what is found."""

_FORM_MOST = 64 << 10
_FIELDS_MOST = 100
_BODY_MOST = 1 << 20  # arbitrary: a Patient with a photograph is asked for without it


async def read_parameters(asked: Asked) -> list[tuple[str, str]]:
    """Return the parameters of address and form, in their order.

    Raises:
        ParameterRefusedError: there are too many, or one holds what no text holds.
        BodyUnsupportedError: the body is no form.
    """
    request = asked.request
    found = read_query(asked)
    try:
        if request.method == "POST":
            media_type = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
            if media_type != FORM:
                raise BodyUnsupportedError(say["fhir_form"], place="Content-Type")
            async with asked.bodies.lend(request, most=_FORM_MOST) as body:
                found += _fields(body)
    except ValueError:
        raise ParameterRefusedError(say["parameters"]) from None
    return _checked(found)


def read_query(asked: Asked) -> list[tuple[str, str]]:
    """Return the parameters of the address, in their order.

    Raises:
        ParameterRefusedError: there are too many, or one holds what no text holds.
    """
    try:
        return _checked(_fields(asked.request.scope["query_string"]))
    except ValueError:
        raise ParameterRefusedError(say["parameters"]) from None


async def read_resource(asked: Asked) -> tuple[dict[str, Any], list[fhir.Issue]]:
    """Return the resource that an operation was sent, and what is wrong with it.

    Raises:
        FhirError: it is no resource.
        BodyRefusedError: it is empty.
    """
    async with asked.body(most=_BODY_MOST) as body:
        resource = fhir.read(body, content_type=asked.request.headers.get("content-type"))
    return resource, [one for one in fhir.validate(resource) if one.is_error]


def named_values(parameters: Mapping[str, Any], *, allowed: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values (or resources) of a Parameters resource by name.

    Raises:
        ParameterRefusedError: it is none, or one has another name than the `allowed` ones, or no value.
    """
    if parameters.get("resourceType") != "Parameters":
        raise ParameterRefusedError(say["fhir_parameters"], place="resourceType")
    found: dict[str, list[Any]] = {}
    for number, one in enumerate(parameters.get("parameter", ())):
        name = one.get("name")
        values = [value for key, value in one.items() if key == "resource" or key.startswith("value")]
        if name not in allowed or len(values) != 1:
            raise ParameterRefusedError(say["fhir_parameter"], place=f"Parameters.parameter[{number}]")
        found.setdefault(name, []).append(values[0])
    return found


def shown_name(name: str) -> str:
    """Return a parameter's name for a place, where it is one: a query may hold anything."""
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= 40 else "?"


def _checked(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if any(not value.isprintable() or not name.isprintable() for name, value in found):
        raise ParameterRefusedError(say["parameters"])
    return found


def _fields(encoded: bytes) -> list[tuple[str, str]]:
    return parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_MOST)
