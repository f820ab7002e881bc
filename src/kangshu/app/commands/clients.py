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
from kangshu.security import signing_keys
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


@clients_app.command("sign")
def make_signing_key_command(
    context: typer.Context,
    client_id: Annotated[str, typer.Argument(help="接入方编号 / the client's id")],
    sm2_public: Annotated[
        str, typer.Option(help="SM2 公钥（十六进制）；不给则发放 HMAC-SM3 密钥 / an SM2 public key instead")
    ] = "",
    as_json: Json = False,
) -> None:
    """发放请求签名密钥（电子健康卡接口用） / a key to sign requests with; a secret is shown once."""
    present(run(_make_signing_key(home_of(context), client_id, sm2_public), as_json=as_json), as_json=as_json)


async def _make_signing_key(home: Path, client_id: str, sm2_public: str) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        now = platform.clock.now()
        if sm2_public:
            key_id = await signing_keys.add_public_key(
                connection, client_id=client_id, public=sm2_public, now=now, random=secrets.token_bytes
            )
            return {"key": key_id, "procedure": "sm2"}
        key_id, secret = await signing_keys.make_signing_key(
            connection, keys=platform.keys, client_id=client_id, now=now, random=secrets.token_bytes
        )
        return {"key": key_id, "secret": secret, "procedure": "hmac-sm3"}


@clients_app.command("retire-key")
def retire_signing_key_command(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="签名密钥编号 / the signing key's id")],
    as_json: Json = False,
) -> None:
    """停用签名密钥 / withdraw a signing key."""
    present(run(_retire_signing_key(home_of(context), key), as_json=as_json), as_json=as_json)


async def _retire_signing_key(home: Path, key: str) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        await signing_keys.retire_signing_key(connection, key_id=key)
        return {"key": key, "retired": True}


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
