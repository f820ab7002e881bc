"""The commands, one module a topic; importing this adds them all to the program."""

from kangshu.app.commands import (
    bench,
    clients,
    datasets,
    demo,
    doctor,
    home,
    intake,
    persons,
    quality_figures,
    quality_files,
    quality_findings,
    quality_scores,
    quality_tables,
    quality_tasks,
    queues,
    simulate,
)

__all__ = [
    "bench",
    "clients",
    "datasets",
    "demo",
    "doctor",
    "home",
    "intake",
    "persons",
    "quality_figures",
    "quality_files",
    "quality_findings",
    "quality_scores",
    "quality_tables",
    "quality_tasks",
    "queues",
    "simulate",
]
