"""The staff console: server-rendered pages in Chinese and English, for people and their browsers.

`build` makes the application from the `Services` that the app gives it; it is mounted at `/console`.
Everything that a page shows lies within its visitor's role and reach, and every look at a person's
data goes through `consent` and is on record.
"""

from kangshu.console.errors import ConsoleError
from kangshu.console.services import DemoAccount, Services, SubmitUpload
from kangshu.console.site import build

__all__ = ["ConsoleError", "DemoAccount", "Services", "SubmitUpload", "build"]
