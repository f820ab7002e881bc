"""`/docs`: the OpenAPI description as a page of our own, without scripts and without other sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
_METHODS = ("get", "post", "put", "patch", "delete")

_environment = Environment(
    loader=PackageLoader("kangshu.api", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, kw_only=True)
class ParameterView:
    """One parameter of an operation."""

    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, kw_only=True)
class OperationView:
    """One operation as the page shows it."""

    method: str
    path: str
    anchor: str
    summary: str
    description: str
    tag: str
    parameters: tuple[ParameterView, ...]
    bodies: tuple[str, ...]
    responses: tuple[tuple[str, str], ...]


def _coded(text: str) -> Markup:
    """Return `text` with what stands in backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(  # the parts are escaped above
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


_environment.filters["coded"] = _coded


async def show_reference(request: Request) -> Response:
    """Show every operation with its parameters and answers."""
    schema = request.app.openapi()
    page = _environment.get_template("docs.html").render(
        origin=str(request.base_url).rstrip("/"),
        info=schema["info"],
        operations=operations(schema),
        schemas=_schemas(schema),
    )
    return HTMLResponse(
        page,
        headers={
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        },
    )


async def show_style(request: Request) -> Response:
    """Send the page's style."""
    style = resources.files("kangshu.api").joinpath("templates", "docs.css").read_bytes()
    return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})


def operations(schema: Mapping[str, Any]) -> list[OperationView]:
    """Return the operations of an OpenAPI description, in its order."""
    return [
        _operation(method, path, item[method])
        for path, item in schema["paths"].items()
        for method in _METHODS
        if method in item
    ]


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> OperationView:
    body = operation.get("requestBody", {}).get("content", {})
    return OperationView(
        method=method.upper(),
        path=path,
        anchor=operation.get("operationId", f"{method}{path}"),
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        tag=(operation.get("tags") or [""])[0],
        parameters=tuple(_parameter(one) for one in operation.get("parameters", ())),
        bodies=tuple(body),
        responses=tuple(
            (code, answer.get("description", "")) for code, answer in sorted(operation["responses"].items())
        ),
    )


def _parameter(parameter: Mapping[str, Any]) -> ParameterView:
    return ParameterView(
        name=parameter["name"],
        place=parameter["in"],
        type=_type(parameter.get("schema", {})),
        required=parameter.get("required", False),
        description=parameter.get("description", ""),
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return schema.get("format") or schema.get("type", "")


def _schemas(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shapes of our own answers; the framework's shape of errors is never sent."""
    own = schema.get("components", {}).get("schemas", {})
    return [
        {
            "name": name,
            "description": one.get("description", ""),
            "fields": [
                (field, _type(value), value.get("description", ""))
                for field, value in one.get("properties", {}).items()
            ],
        }
        for name, one in own.items()
        if name not in ("HTTPValidationError", "ValidationError") and one.get("properties")
    ]
