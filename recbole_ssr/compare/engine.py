"""What runs tasks, and what it is told: the contract between comparisons, tuning and machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from recbole_ssr.compare.progress import Progress

if TYPE_CHECKING:
    from recbole_ssr.compare.store import Task


class Outcome(NamedTuple):
    """How a run ended: `error` in one line, or None; `stopped` on purpose, as in pruning."""

    error: str | None = None
    stopped: bool = False


Watch = Callable[[list[tuple["Task", Progress]]], None]


class Source(Protocol):
    """Where tasks come from, and who hears how they fare. All calls come from one thread."""

    def take(self) -> Task | None:
        """Return the next task, or None where there is none: for now, while others run."""

    def progressed(self, task: Task, valid: list[float]) -> bool:
        """Hear of a further evaluation; False stops this run, which is pruned."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Hear how a run ended, once per task taken."""


class Engine(Protocol):
    """Runs the tasks of a source."""

    def run(self, source: Source, jobs: int, watch: Watch) -> None:
        """Run tasks, `jobs` at a time, until there is none left and none runs.

        `watch` is called with all running tasks, several times a second. A run that fails does not
        stop the others. An exception, KeyboardInterrupt for instance, stops all processes, leaves
        every run so that it can go on, and is raised again.
        """


class FixedSource:
    """A Source of tasks that are all known beforehand; `outcomes` are those so far, by folder."""

    def __init__(self, tasks: Iterable[Task]):
        self._waiting = list(tasks)
        self.outcomes: dict[str, Outcome] = {}

    def take(self) -> Task | None:
        """Return the next task, or None where all have been taken."""
        return self._waiting.pop(0) if self._waiting else None

    def progressed(self, task: Task, valid: list[float]) -> bool:  # noqa: ARG002
        """Return True: no run is pruned."""
        return True

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Keep the outcome."""
        self.outcomes[str(task.folder)] = outcome
