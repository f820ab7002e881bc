"""Notices (通知): what quality announces reaches institutions in the console, by mail and by web-hook.

`subscribers` keeps a notice for the console in the transaction of the delivery and queues one job for each
other way; the workers of `make_workers` do those jobs, apart from all other work, so that a slow hook holds
nobody up.
"""

from kangshu.app.notices.delivering import HOOK_JOB, MAIL_JOB, Notifier, make_workers
from kangshu.app.notices.errors import HookFailedError, MailRefusedError, MailServerError, NoticeError
from kangshu.app.notices.hooks import sign
from kangshu.app.notices.mail import MailServer, mail_server
from kangshu.app.notices.telling import subscribers

__all__ = [
    "HOOK_JOB",
    "MAIL_JOB",
    "HookFailedError",
    "MailRefusedError",
    "MailServer",
    "MailServerError",
    "NoticeError",
    "Notifier",
    "mail_server",
    "make_workers",
    "sign",
    "subscribers",
]
