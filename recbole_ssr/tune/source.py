"""Trials of several searches as a source of tasks, for the engines that run comparisons."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from recbole_ssr.compare.engine import Outcome
from recbole_ssr.compare.store import Task, is_complete, progress_of, result_of
from recbole_ssr.errors import UserError
from recbole_ssr.tune.study import Search

logger = logging.getLogger("recbole_ssr")


class TuneSource:
    """Hands out trials, of the line with the fewest so far, so that all lines advance together.

    Trials train and validate only: their tasks have the stage "valid".

    Args:
        searches: by label.
        make: from label and settings of a trial to its task; raises UserError where the settings
            do not go together, which fails the trial.
        metric: valid_metric by label, as results name it, for instance "recall@20".
    """

    def __init__(self, searches: Mapping[str, Search], make: Callable[[str, dict], Task],
                 metric: Mapping[str, str]):
        self.searches, self._make, self._metric = dict(searches), make, dict(metric)
        self._begun = dict.fromkeys(self.searches, 0)
        self._running: dict[str, tuple[str, int]] = {}  # by folder: label and number
        self._pruned: set[str] = set()
        self._held: list[tuple[str, int, Task]] = []  # while their folder is used by another line

    @property
    def coming(self) -> int:
        """How many trials of all searches have not begun."""
        return sum(search.coming for search in self.searches.values())

    def take(self) -> Task | None:
        """Return the next trial's task, or None where there is none for now."""
        for place, (label, number, task) in enumerate(self._held):
            if str(task.folder) not in self._running:
                del self._held[place]
                if self._start(label, number, task):
                    return task
                return self.take()
        for label in sorted(self.searches, key=self._begun.__getitem__):
            task = self._next(label)
            if task is not None:
                return task
        return None

    def progressed(self, task: Task, valid: list[float]) -> bool:
        """Hear of a further evaluation; False where the trial is pruned."""
        label, number = self._running[str(task.folder)]
        if self.searches[label].report(number, valid):
            return True
        self._pruned.add(str(task.folder))
        return False

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Hear how a trial's run ended."""
        folder = str(task.folder)
        label, number = self._running.pop(folder)
        search = self.searches[label]
        pruned = folder in self._pruned
        self._pruned.discard(folder)
        if outcome.error is not None:
            logger.warning("A trial of %s failed: %s", label, outcome.error)
            search.fail(number, outcome.error)
        elif not outcome.stopped:
            self._complete(label, number, task)
        elif pruned:
            search.prune(number)
        else:
            search.release(number)

    def release(self) -> None:
        """Put whatever runs back into the queue, for whoever goes on."""
        for label, number, _ in self._held:
            self.searches[label].release(number)
        for label, number in self._running.values():
            self.searches[label].release(number)
        self._held.clear()
        self._running.clear()

    def _next(self, label: str) -> Task | None:
        """Begin trials of a line until one has to be run; what lies in its folder is free."""
        search = self.searches[label]
        while (asked := search.ask()) is not None:
            self._begun[label] += 1
            try:
                task = self._make(label, asked.settings)
            except UserError as error:
                search.fail(asked.number, str(error))
                continue
            if str(task.folder) in self._running:
                self._held.append((label, asked.number, task))
            elif self._start(label, asked.number, task):
                return task
        return None

    def _start(self, label: str, number: int, task: Task) -> bool:
        """Note that a task runs; False where its run is there already."""
        if is_complete(task):
            self._complete(label, number, task)
            return False
        self._running[str(task.folder)] = label, number
        return True

    def _complete(self, label: str, number: int, task: Task) -> None:
        """Record what a run reached on validation; nothing else of it is looked at."""
        search, metric = self.searches[label], self._metric[label]
        try:
            result = result_of(task)
        except UserError as error:
            search.fail(number, str(error))
            return
        if metric in result.valid:
            search.report(number, progress_of(task).valid)  # for others to be measured against
            search.complete(number, result.valid[metric],
                            result.protocol.get("split_fingerprint"),
                            result.training.get("features"))
        else:
            search.fail(number, f"{task.folder} has no {metric} on validation")
