"""Send a letter over the centre's mail server."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from kangshu.app.errors import SettingsError
from kangshu.app.notices.errors import MailRefusedError, MailServerError, say
from kangshu.app.settings import Settings

_ANSWER_SECONDS = 20.0
_WHOLE_SECONDS = 60.0
_PASSWORD = "KANGSHU_SMTP_PASSWORD"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """The mail server that takes our letters; `tls` is `starttls`, `tls` or `none`."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)
    whole_seconds: float = _WHOLE_SECONDS

    @property
    def domain(self) -> str:
        """What stands behind the @ of our address: the numbers of our letters end with it."""
        return self.sender.rpartition("@")[2] or "localhost"


def mail_server(settings: Settings) -> MailServer | None:
    """Return the mail server of the settings; None where none is set.

    Raises:
        SettingsError: the file with the password cannot be read.
    """
    if not settings.smtp_host:
        return None
    return MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_from,
        tls=settings.smtp_tls,
        user=settings.smtp_user,
        password=_password(settings),
    )


def send_letter(server: MailServer, *, to: str, subject: str, text: str, number: str, at: datetime) -> None:
    """Send a letter of plain text; it blocks, so call it in a thread.

    `number` makes its Message-ID: one that is sent again after a failure can be told from a new one.

    Raises:
        MailServerError: the server does not answer, or not as it should, or refuses us.
        MailRefusedError: it does not take this letter.
    """
    letter = EmailMessage()
    letter["From"] = server.sender
    letter["To"] = to
    letter["Subject"] = subject
    letter["Date"] = format_datetime(at)
    letter["Message-ID"] = f"<{number}@{server.domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text)
    try:
        with _connected(server) as client:
            client.send_message(letter)
    except (
        smtplib.SMTPRecipientsRefused,
        smtplib.SMTPSenderRefused,
        smtplib.SMTPDataError,
        smtplib.SMTPNotSupportedError,
    ) as error:
        # What the server answered may quote an address: only its number is told.
        raise MailRefusedError(say("mail_refused", code=_code(error))) from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise MailServerError(say("mail_server", reason=type(error).__name__)) from None


@contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    """Give a client that has said hello, speaks TLS and has signed in, for a bounded time."""
    context = ssl.create_default_context()
    if server.tls == "tls":
        client: smtplib.SMTP = smtplib.SMTP_SSL(timeout=_ANSWER_SECONDS, context=context)
    else:
        client = smtplib.SMTP(timeout=_ANSWER_SECONDS)
    # smtplib bounds each wait, not their sum: a server that sends a byte now and then would hold us for ever.
    alarm = threading.Timer(server.whole_seconds, _cut_off, [client])
    alarm.daemon = True
    alarm.start()
    try:
        # SMTP_SSL wants to know whose certificate to expect, which it learns in its constructor only.
        client._host = server.host  # pyright: ignore[reportAttributeAccessIssue]
        client.connect(server.host, server.port)
        if server.tls == "starttls":
            client.starttls(context=context)
        if server.user:
            client.login(server.user, server.password)
        yield client
        with suppress(smtplib.SMTPException, OSError):
            client.quit()
    finally:
        alarm.cancel()
        client.close()


def _cut_off(client: smtplib.SMTP) -> None:
    if client.sock is not None:
        with suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)


def _code(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return ", ".join(str(code) for code, _ in error.recipients.values())
    return str(getattr(error, "smtp_code", "")) or type(error).__name__


def _password(settings: Settings) -> str:
    if told := os.environ.get(_PASSWORD):
        return told
    if not settings.smtp_password_file:
        return ""
    try:
        return Path(settings.smtp_password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(say("password_unreadable"), place="smtp_password_file") from error
