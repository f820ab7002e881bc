"""What states, causes, steps and grades are called."""

from __future__ import annotations

from kangshu.declarations import Pack
from kangshu.kernel.texts import Text
from kangshu.quality.rectifying.errors import say
from kangshu.quality.rectifying.model import Act, Cause, TaskState


def state_title(state: TaskState) -> Text:
    """Return what a state is called."""
    return say[f"state_{state}"]


def cause_title(cause: Cause) -> Text:
    """Return why a grade applies, in words."""
    return say[f"cause_{cause}"]


def act_title(act: Act) -> Text:
    """Return what a step is called."""
    return say[f"act_{act}"]


def grade_title(*, pack: Pack, grade: str) -> Text:
    """Return what a grade is called; one that the pack declares no longer stands for itself."""
    titles = {one.name: one.title for one in pack.quality.grades}
    return titles.get(grade, Text(zh=grade, en=grade))
