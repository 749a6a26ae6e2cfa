"""How the runs of a comparison fare: one live table on a terminal, one line per run elsewhere."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recbole_ssr.compare.engine import Outcome, Progress, Source
from recbole_ssr.compare.store import Task, is_complete, progress_of
from recbole_ssr.result import larger_is_better

_WORKED = ("done", "pruned")
ENDED = (*_WORKED, "failed")
_STYLES = {"done": "green", "failed": "bold red", "waiting": "dim", "pruned": "dim"}
_AROUND = 4  # lines that are no runs: the head, two summaries, and the cursor's
_FAILURES = 1 / 8  # the share of the lines that tells why runs failed
_RECENT = 5  # epochs whose mean time is that of the next ones
_REFRESH = 4  # a second


@dataclass
class Row:
    """A run as the table shows it; `began` and `ended` by the board's clock, in seconds.

    A run that was done before the command began has neither.
    """

    task: Task
    state: str = "waiting"
    progress: Progress = Progress()
    began: float | None = None
    ended: float | None = None
    error: str | None = None

    @property
    def best(self) -> float:
        """Return the best validation so far; by default more is better, unless settings say so."""
        better = max if larger_is_better(str(self.task.settings.get("valid_metric", ""))) else min
        return better(self.progress.valid)


class Board:
    """Follows the runs of a comparison, or of a search, and shows them.

    ::

        with Board(console, tasks, jobs) as board:
            engine.run(board.follow(source), jobs, board.watch)

    Args:
        console: where to show them: live on a terminal, otherwise a line for every run that ends.
        tasks: those known beforehand; others are added as they begin.
        jobs: runs at a time, for the time left.
        clock: seconds.
    """

    def __init__(self, console: Console, tasks: Iterable[Task] = (), jobs: int = 1,
                 clock: Callable[[], float] = time.monotonic):
        self.console, self.jobs, self.clock = console, jobs, clock
        self.rows: dict[str, Row] = {}
        for task in tasks:
            done = is_complete(task)
            self._add(Row(task, "done", progress_of(task)) if done else Row(task))
        self._total = 0
        self._start = clock()
        self._live: Live | None = None

    def _add(self, row: Row) -> Row:
        self.rows[str(row.task.folder)] = row
        return row

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self.console, transient=True,
                              refresh_per_second=_REFRESH)
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def total(self) -> int:
        """Runs in all, as far as they are known."""
        return max(self._total, len(self.rows))

    def follow(self, source: Source, coming: int = 0) -> Source:
        """Return `source`, its tasks shown as they begin and end.

        `coming` are its runs, as far as they are known before they begin.
        """
        self._total = len(self.rows) + coming
        return _Followed(source, self)

    def watch(self, running: Sequence[tuple[Task, Progress]]) -> None:
        """Take the progress of all running tasks."""
        for task, progress in running:
            row = self._row(task)
            if row.state not in ENDED:
                row.progress = progress
                row.state = progress.state

    def began(self, task: Task) -> None:
        """Take note that a run was started; one that is complete already takes no time."""
        row = self._row(task)
        if is_complete(task):
            row.state, row.progress = "done", progress_of(task)
        else:
            row.began, row.state = self.clock(), "preparing"

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Take note that a run has ended."""
        row = self._row(task)
        if row.began is None and row.state == "done" and not outcome.error:
            return  # it was done before the command began
        row.ended, row.error = self.clock(), outcome.error
        row.state = "failed" if outcome.error else "pruned" if outcome.stopped else "done"
        row.progress = progress_of(task)
        if self._live is None:
            self.console.print(self._line(row), markup=False, highlight=False, soft_wrap=True)

    def _row(self, task: Task) -> Row:
        row = self.rows.get(str(task.folder))
        return row if row is not None else self._add(Row(task))

    def _line(self, row: Row) -> str:
        text = f"{row.task.label}, seed {row.task.seed}: {row.state}"
        if row.error:
            text += f", {row.error}"
        elif row.progress.valid:
            text += f", best {row.best:.4f} on validation"
        if row.progress.epoch and row.ended is not None and row.began is not None:
            text += f", {row.progress.epoch} epochs in {duration(row.ended - row.began)}"
        return f"{text} ({self.summary()})"

    def summary(self) -> str:
        """Return how many runs are done, and how long the rest will take."""
        rows = list(self.rows.values())
        count = Counter(row.state for row in rows)
        text = f"{sum(count[state] for state in ENDED)} of {self.total} runs ended"
        text += "".join(f", {count[state]} {state}" for state in ENDED[1:] if count[state])
        unknown = [Row(row.task) for row in rows[:1]] * (self.total - len(rows))
        left = seconds_left(rows + unknown, self.jobs, self.clock())
        return text + (f", about {duration(left)} left" if left else "")

    def render(self) -> Group:
        """Return what a terminal shows now; it fits its height."""
        rows = list(self.rows.values())
        height = self.console.height
        failed = [row for row in rows if row.state == "failed"][-max(int(height * _FAILURES), 1):]
        room = max(height - _AROUND - len(failed), 1)
        shown, hidden = choose(rows, room)
        parts = [_table(shown, self.clock())]
        if hidden:
            count = Counter(row.state for row in hidden)
            parts.append(_cut(f"not shown: {', '.join(f'{n} {s}' for s, n in count.items())}"))
        parts += [_cut(f"{row.task.label}, seed {row.task.seed}: {row.error}", "red")
                  for row in failed if row.error]
        parts.append(_cut(f"{self.summary()}; {duration(self.clock() - self._start)} so far"))
        return Group(*parts)


class _Followed:
    """A source whose tasks a board shows."""

    def __init__(self, source: Source, board: Board):
        self._source, self._board = source, board

    def take(self) -> Task | None:
        task = self._source.take()
        if task is not None:
            self._board.began(task)
        return task

    def progressed(self, task: Task, valid: list[float]) -> bool:
        return self._source.progressed(task, valid)

    def finished(self, task: Task, outcome: Outcome) -> None:
        self._board.finished(task, outcome)
        self._source.finished(task, outcome)


def choose(rows: Sequence[Row], room: int) -> tuple[list[Row], list[Row]]:
    """Return at most `room` rows to show, in their order, and the others.

    Running ones come first, then failures, the next to start, and those that ended last.
    """
    if len(rows) <= room:
        return list(rows), []
    running = [row for row in rows if row.state not in (*ENDED, "waiting")]
    failed = [row for row in rows if row.state == "failed"]
    ended = sorted((row for row in rows if row.state in _WORKED),
                   key=lambda row: row.ended or float("-inf"), reverse=True)
    waiting = [row for row in rows if row.state == "waiting"]
    half = (room - len(running) - len(failed)) // 2
    ranked = [*running, *failed[::-1], *waiting[:max(half, 0)], *ended, *waiting[max(half, 0):]]
    kept = {id(row) for row in ranked[:room]}
    return ([row for row in rows if id(row) in kept],
            [row for row in rows if id(row) not in kept])


def seconds_left(rows: Sequence[Row], jobs: int, now: float) -> float | None:
    """Estimate the time until all runs have ended; None where nothing is known yet.

    A run takes as many epochs as ended ones of its model on average, or all of its own; an epoch
    takes as long as its last ones, or as those of its model, or of any.
    """
    left = [row for row in rows if row.state not in ENDED]
    if not left:
        return None
    parts = [_left_of(row, rows, now) for row in left]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    guess = statistics.fmean(known)
    parts = [guess if part is None else part for part in parts]
    return max(sum(parts) / min(jobs, len(parts)), *parts)


def _left_of(row: Row, rows: Sequence[Row], now: float) -> float | None:
    alike = [other for other in rows if other.task.model == row.task.model]
    took = [other.ended - other.began for other in alike
            if other.state in _WORKED and other.began is not None]
    if took:
        elapsed = 0 if row.began is None else now - row.began
        whole = statistics.fmean(took)
        if not row.progress.seconds:
            return max(whole - elapsed, 0)
    seconds = row.progress.seconds[-_RECENT:] or [
        second for other in alike for second in other.progress.seconds[-_RECENT:]]
    ended = [other.progress.epoch for other in alike if other.state in _WORKED]
    epochs = statistics.fmean(ended) if ended else max(
        (other.progress.epochs for other in alike), default=0)
    if not seconds or not epochs:
        return None
    # Beyond what others took: it may stop any time.
    return max(epochs - row.progress.epoch, 1) * statistics.fmean(seconds)


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 12 min, 3.5 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table(rows: Sequence[Row], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Run", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("Seed", justify="right", no_wrap=True)
    table.add_column("State", no_wrap=True, min_width=9)
    for name in ("Epoch", "Best valid", "s/epoch", "Time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, _cells(row, now)), style=_STYLES.get(row.state))
    return table


def _cells(row: Row, now: float) -> tuple[str, ...]:
    progress = row.progress
    epoch = f"{progress.epoch}/{progress.epochs}" if progress.epochs else ""
    pace = statistics.fmean(progress.seconds[-_RECENT:]) if progress.seconds else None
    end = now if row.ended is None else row.ended
    return (row.task.label, str(row.task.seed), row.state, epoch,
            f"{row.best:.4f}" if progress.valid else "",
            "" if pace is None else f"{pace:.3g}",
            "" if row.began is None else duration(end - row.began))


def _cut(text: str, style: str = "") -> Text:
    """Return one line, cut at the terminal's edge."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
