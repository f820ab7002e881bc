"""`clients`: credentials for machines; `accounts`: staff accounts."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import directory
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import open_platform
from kangshu.app.presenting import present
from kangshu.app.program import Json, app, home_of, run
from kangshu.security import operations as security
from kangshu.security.principals import Reach, Role

clients_app = typer.Typer(help="接入方 / credentials for machines", no_args_is_help=True)
accounts_app = typer.Typer(help="工作人员账户 / staff accounts", no_args_is_help=True)
app.add_typer(clients_app, name="clients")
app.add_typer(accounts_app, name="accounts")


@clients_app.command("create")
def create_client_command(
    context: typer.Context,
    institution: Annotated[str, typer.Option(help="机构代码 / the institution's code")],
    scope: Annotated[list[str] | None, typer.Option(help="授权范围 / what it may do")] = None,
    as_json: Json = False,
) -> None:
    """创建接入凭据 / credentials for a machine; the secret is shown once."""
    result = run(_create_client(home_of(context), institution, scope or ["datasets.write"]), as_json=as_json)
    present(result, as_json=as_json)


async def _create_client(home: Path, institution: str, scopes: list[str]) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        now = platform.clock.now()
        await directory.ensure_provisional(connection, code=institution, now=now)
        client_id, secret = await security.create_client(
            connection, institution=institution, scopes=scopes, now=now, random=secrets.token_bytes
        )
        return {"client_id": client_id, "client_secret": secret, "institution": institution, "scopes": scopes}


@accounts_app.command("create")
def create_account_command(
    context: typer.Context,
    name: str,
    title: Annotated[str, typer.Option(help="姓名或岗位 / shown name")],
    role: Annotated[list[Role], typer.Option(help="角色 / role")],
    reach: Annotated[
        list[str] | None, typer.Option(help="范围，如 region、division:990100、institution:CODE / reach")
    ] = None,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)] = "",
    as_json: Json = False,
) -> None:
    """创建账户 / a staff account."""
    result = run(_create_account(home_of(context), name, title, role, reach or [], password), as_json=as_json)
    present(result, as_json=as_json)


async def _create_account(
    home: Path, name: str, title: str, roles: list[Role], reaches: list[str], password: str
) -> dict[str, Any]:
    reached = [_reach(one) for one in reaches]
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        account = await security.create_account(
            connection,
            name=name,
            title=title,
            password=password,
            roles=roles,
            reaches=reached,
            now=platform.clock.now(),
        )
        return {"name": account.name, "roles": [str(one) for one in roles], "reaches": reaches}


def _reach(text: str) -> Reach:
    try:
        return Reach.parse(text)
    except ValueError:
        raise UsageError(say("no_such_reach")) from None
