"""What this package says: its texts. Its errors are `MappingError` and `DeclarationError`."""

from __future__ import annotations

from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)
