"""Settings: the defaults, over them `settings.toml` in the home, over it `KANGSHU_...` in the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from kangshu.app.errors import SettingsError, say

DEFAULT_HOME = Path("kangshu-home")

_LEAST = {
    "threads": 1,
    "memory_mib": 128,
    "upload_limit_mib": 1,
    "job_lease_seconds": 5,
    "mllp_port": 0,
    "mllp_connections": 1,
    "mllp_idle_seconds": 5,
    "message_days": 1,
    "lake_seconds": 1,
    "smtp_port": 1,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a centre may set. Each name is a key of `settings.toml` and, upper-case, of the environment."""

    database_url: str = ""  # an external PostgreSQL; empty: the embedded one in the home
    language: str = "zh"  # of pages and messages: zh or en
    region_name: str = ""  # shown in the console's head; empty: the pack's title
    pack: str = ""  # folder of the region pack; empty: the built-in one
    threads: int = 2  # of DuckDB
    memory_mib: int = 1024  # of DuckDB, or of Spark's driver
    lake_engine: str = "duckdb"  # what computes over the lake: duckdb, or spark for a region of many machines
    spark_master: str = "local[*]"  # local-cluster[2,1,1024], spark://..., yarn: see docs/scale.md
    linkage_model: str = ""  # file of `kangshu persons train`; empty: the model that ships
    upload_limit_mib: int = 16384  # the largest file taken over HTTP
    watch_folder: str = ""  # files put here are taken in; empty: nothing is watched
    job_lease_seconds: int = 60
    secure_cookies: bool = False  # true behind HTTPS: cookies are sent over HTTPS only
    mllp_host: str = "127.0.0.1"  # where HL7 v2 messages are taken over MLLP
    mllp_port: int = 0  # 0: no MLLP
    mllp_certificate: str = ""  # PEM file of the server; with it MLLP speaks TLS
    mllp_key: str = ""  # PEM file of the certificate's key
    mllp_client_authorities: str = ""  # PEM file: only peers with a certificate of these are let in
    mllp_connections: int = 200  # at most at the same time
    mllp_idle_seconds: int = 600  # a connection on which nothing comes for so long is closed
    mllp_queries: bool = False  # true: peers on MLLP may ask for persons (PIX, PDQ) without a certificate
    pdf_fonts: str = ""  # folder of Noto Sans CJK for PDFs; empty: where the system keeps fonts
    message_days: int = 180  # for so long the bytes of messages are kept; documents are kept for good
    lake_seconds: int = 10  # rows out of messages reach the statistics after so long
    public_url: str = ""  # where people reach the platform (https://...), for links in mails; empty: no links
    smtp_host: str = ""  # mail server for notices; empty: no mail is sent
    smtp_port: int = 587
    smtp_tls: str = "starttls"  # starttls, tls (from the first byte, port 465) or none (inside a closed net)
    smtp_user: str = ""  # empty: without signing in
    smtp_password_file: str = ""  # file with the password; or KANGSHU_SMTP_PASSWORD in the environment
    smtp_from: str = ""  # the sender's address


def load_settings(home: Path, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of `home`.

    Raises:
        SettingsError: a key is unknown, or a value is not of its type or out of bounds.
    """
    values: dict[str, object] = {}
    path = home / "settings.toml"
    if path.exists():
        try:
            values.update(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(say("settings_unreadable"), place=str(path)) from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(say("settings_not_toml", reason=str(error)), place=str(path)) from error
    known = {field.name: type(field.default) for field in fields(Settings)}
    for name in values:
        if name not in known:
            raise SettingsError(say("setting_unknown", name=name, known=", ".join(known)), place=str(path))
    source = os.environ if environment is None else environment
    for name in known:
        if (told := source.get(f"KANGSHU_{name.upper()}")) is not None:
            values[name] = told
    settings = Settings(**{name: _converted(name, value, known[name]) for name, value in values.items()})  # type: ignore[arg-type]
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    for name, least in _LEAST.items():
        if getattr(settings, name) < least:
            raise SettingsError(say("setting_least", name=name, least=least))
    if bool(settings.mllp_certificate) != bool(settings.mllp_key):
        raise SettingsError(say("setting_mllp_tls"))
    if settings.mllp_client_authorities and not settings.mllp_certificate:
        raise SettingsError(say("setting_mllp_tls"))
    if settings.smtp_host and ("@" not in settings.smtp_from or not settings.smtp_from.isprintable()):
        raise SettingsError(say("setting_smtp_from"))
    if settings.smtp_tls not in ("starttls", "tls", "none"):
        raise SettingsError(say("setting_smtp_tls"))
    if settings.smtp_user and settings.smtp_tls == "none":
        raise SettingsError(say("setting_smtp_open"))
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        raise SettingsError(say("setting_public_url"))
    if settings.lake_engine not in ("duckdb", "spark"):
        raise SettingsError(say("setting_lake_engine"))
    if settings.language not in ("zh", "en"):
        raise SettingsError(say("setting_language"))
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise SettingsError(say("setting_database_url"))


def _converted(name: str, value: object, kind: type) -> object:
    if kind is bool and isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    if kind is int and isinstance(value, str):
        with suppress(ValueError):
            value = int(value)
    if type(value) is not kind:
        raise SettingsError(say("setting_type", name=name, expected=kind.__name__))
    return value
