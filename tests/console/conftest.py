"""Fixtures for the tests of the console: a small region behind real doors."""

from __future__ import annotations

from console_world import site_run

__all__ = ["site_run"]
