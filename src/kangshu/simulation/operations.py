"""Write the simulated region: files and messages per institution, and the truth about them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from kangshu.declarations import Pack
from kangshu.kernel.texts import load_catalogue
from kangshu.simulation.anomalies import LATE_SHARE, SHARE, plan_anomalies
from kangshu.simulation.distortion import Distortion
from kangshu.simulation.errors import SimulationRefusedError
from kangshu.simulation.exchange import Exchange
from kangshu.simulation.injection import inject
from kangshu.simulation.registries import REGISTRATION_BEGAN
from kangshu.simulation.speech import Posted, Speakers, post_messages
from kangshu.simulation.streams import stream
from kangshu.simulation.styles import Senders
from kangshu.simulation.truth import AnomalyRows, Truth, TruthPart, publish, write_persons
from kangshu.simulation.world import GROUPS, World, build_world, month_blocks, standing_blocks

say = load_catalogue(__package__ or __name__)

LEAST_RESIDENTS = 100
TWO_PROCESSES_FROM = 5_000
"""From so many residents on, two processes share the data sets; fewer are not worth starting one."""


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """What was written: residents on the first day, institutions that send, files of tables and rows in them.

    `messages` stand in `message_files`, which are counted apart.
    """

    residents: int
    institutions: int
    files: int
    rows: int
    messages: int
    message_files: int


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What one process does."""

    out: Path
    residents: int
    months: int
    seed: int
    start: date
    pack: Pack
    group: int
    anomalies: float
    monthly: bool


def simulate(
    *,
    out: Path,
    residents: int,
    months: int = 12,
    seed: int = 20260101,
    pack: Pack,
    start: date = date(2026, 1, 1),
    progress: Callable[[float], None] | None = None,
    processes: int | None = None,
    anomalies: float = SHARE,
    monthly: bool = False,
) -> SimulationSummary:
    """Write `out/submissions/<institution>/...` and `out/truth/...`, and say how much.

    In the last month some institutions send messages (`speech`), in place of files of the same content.
    `anomalies` is the share of months that are wrong as a whole (`truth/anomalies.csv`), 0 for none. With
    `monthly` all institutions send every month; else small ones send less often.

    The same arguments give the same bytes, whatever the machine does besides and however many
    `processes` (1 or 2) share the work. `progress` hears the share that is done. All people are synthetic.

    Raises:
        SimulationRefusedError: fewer than 100 residents, or no month.
    """
    if residents < LEAST_RESIDENTS or months < 1:
        raise SimulationRefusedError(say("too_little", residents=LEAST_RESIDENTS))
    out.mkdir(parents=True, exist_ok=True)
    tasks = [
        _Task(
            out=out,
            residents=residents,
            months=months,
            seed=seed,
            start=start,
            pack=pack,
            group=group,
            anomalies=anomalies,
            monthly=monthly,
        )
        for group in range(len(GROUPS))
    ]
    report = _Progress(progress, steps=len(tasks) * (months + 1))
    if processes is None:
        processes = 2 if residents >= TWO_PROCESSES_FROM else 1
    done = _in_processes(tasks, report) if processes > 1 else [_run(task, report.step) for task in tasks]
    publish([part.truth for part in done], folder=out / "truth", residents=residents)
    return SimulationSummary(
        residents=residents,
        institutions=done[0].institutions,
        files=sum(part.files for part in done),
        rows=sum(part.rows for part in done),
        messages=sum(part.posted.messages for part in done),
        message_files=sum(part.posted.files for part in done),
    )


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What one process has written."""

    truth: TruthPart
    institutions: int
    files: int
    rows: int
    posted: Posted


class _Progress:
    """Turns steps into the share that is done."""

    def __init__(self, tell: Callable[[float], None] | None, *, steps: int) -> None:
        self._tell = tell
        self._steps = steps
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._tell:
            self._tell(min(1.0, self._done / self._steps))


def _in_processes(tasks: list[_Task], report: _Progress) -> list[_Done]:
    """Run each task in a process of its own; the first one here.

    A process that is spawned, not forked, shares no threads and no state with this one.
    """
    context = multiprocessing.get_context("spawn")
    helpers = []
    for task in tasks[1:]:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_run_apart, args=(task, there), daemon=True)
        process.start()
        there.close()
        helpers.append((process, here))

    def drain() -> None:
        report.step()
        for _, pipe in helpers:
            while not pipe.closed and pipe.poll():
                message = pipe.recv()
                if message is not None:
                    finished.append(message)
                    pipe.close()
                    break
                report.step()

    finished: list[Any] = []
    done = [_run(tasks[0], drain)]
    for process, pipe in helpers:
        while not pipe.closed:
            try:
                message = pipe.recv()
            except EOFError:
                pipe.close()
                break
            if message is None:
                report.step()
            else:
                finished.append(message)
                pipe.close()
        process.join()
    if len(finished) != len(helpers):
        raise RuntimeError("a process of the simulation ended early")
    return done + finished


def _run_apart(task: _Task, pipe: Any) -> None:
    done = _run(task, lambda: pipe.send(None))
    pipe.send(done)
    pipe.close()


def _run(task: _Task, step: Callable[[], None]) -> _Done:
    """Write the data sets of one group, the first one's process also the messages."""
    world = build_world(residents=task.residents, months=task.months, seed=task.seed, start=task.start)
    senders = Senders.of(world.region)
    speakers = Speakers.of(world.region, task.seed)
    truth = Truth(task.out / "truth", name=f"group{task.group}")
    exchange = Exchange(
        out=task.out,
        region=world.region,
        pack=task.pack,
        senders=senders,
        truth=truth,
        seed=task.seed,
        months=task.months,
        start=task.start,
        late=LATE_SHARE if task.anomalies > 0 else 0.0,
        monthly=task.monthly,
    )
    distortion = _distortion(world, task, silent=list(speakers.manners))
    wanted = frozenset(GROUPS[task.group] & task.pack.datasets.keys())
    labels = month_labels(task.start, task.months)
    if task.group == len(GROUPS) - 1:
        write_persons(world.population, world.region, path=task.out / "truth" / "persons.csv")
        _send_standing(world, exchange, senders, task, wanted)
    step()
    for month in range(task.months):
        for number, whole in enumerate(month_blocks(world, month, wanted)):
            block = distortion.apply(whole, month=month)
            block = speakers.unsaid(block) if month == task.months - 1 else block
            faulty = inject(
                block=block,
                pack=task.pack,
                population=world.population,
                random=stream(task.seed, "errors", block.dataset, month, number),
                rates=senders.rates,
                dots=senders.dots,
                legacy=senders.legacy,
                ragged_ok=senders.text,
            )
            exchange.deliver(faulty, month=month, labels=labels)
        exchange.close_month(month)
        step()
    for done in distortion.close():
        truth.add_anomaly(
            AnomalyRows(
                institution=world.region.institutions.codes[done.institution],
                dataset=done.dataset,
                month=labels[done.month],
                kind=done.kind,
                rows=done.rows,
                of=done.of,
                detail=done.detail,
            )
        )
    posted = Posted(files=0, messages=0)
    if task.group == 0:
        posted = post_messages(world, speakers=speakers, pack=task.pack, out=task.out)
    return _Done(
        truth=truth.close(),
        institutions=len(world.region.reporting()),
        files=exchange.files,
        rows=exchange.rows,
        posted=posted,
    )


def _distortion(world: World, task: _Task, *, silent: list[int]) -> Distortion:
    plan = plan_anomalies(
        region=world.region, months=task.months, seed=task.seed, share=task.anomalies, silent=silent
    )
    return Distortion(plan, stays=world.stays, start=task.start, seed=task.seed)


def _send_standing(
    world: World, exchange: Exchange, senders: Senders, task: _Task, wanted: frozenset[str]
) -> None:
    """Send the directories, which are without errors, and the residents registered before."""
    year, month = task.start.year, task.start.month
    last = f"{year - (month == 1)}-{(month - 2) % 12 + 1:02d}"
    began = np.datetime64(REGISTRATION_BEGAN, "D").astype("datetime64[M]")
    for block in standing_blocks(world):
        if block.dataset not in wanted:
            continue
        directory = block.dataset != "resident"
        faulty = inject(
            block=block,
            pack=task.pack,
            population=world.population,
            random=stream(task.seed, "errors", block.dataset),
            rates=senders.rates * (not directory),
            dots=senders.dots,
            legacy=senders.legacy,
            ragged_ok=senders.text,
        )
        label = f"{year}-{month:02d}" if directory else f"{began}..{last}"
        exchange.deliver(faulty, month=-1, labels=[label])
    exchange.close_month(-1)


def month_labels(start: date, months: int) -> list[str]:
    """Return the months as `yyyy-mm`.

    >>> month_labels(date(2025, 12, 1), 2)
    ['2025-12', '2026-01']
    """
    first = start.year * 12 + start.month - 1
    return [f"{number // 12}-{number % 12 + 1:02d}" for number in range(first, first + months)]
