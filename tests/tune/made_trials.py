"""Searches without training: an engine in this process, and what a trained run leaves behind."""

from recbole_ssr.compare.engine import Outcome, Progress
from recbole_ssr.compare.store import is_complete, write_progress
from recbole_ssr.result import VALID_FILE, RunResult
from recbole_ssr.tune.heartbeat import Worker
from recbole_ssr.tune.space import Choice, Range, Space
from recbole_ssr.tune.storage import open_storage, open_study
from recbole_ssr.tune.study import Search
from recbole_ssr.tune.trials import Method

METRIC = "recall@5"


def write_shop(root):
    """Write a dataset that exists, for settings that are checked and never trained."""
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    return {"data_path": str(root), "dataset": "shop", "topk": [2, 5], "valid_metric": "Recall@5"}


def space(default=None, **dimensions):
    """A space by hand: lists are choices, tuples (low, high) continuous ranges."""
    made = {key: Choice(tuple(entry)) if isinstance(entry, list) else
            entry if isinstance(entry, Range) else Range(*entry)
            for key, entry in dimensions.items()}
    first = {key: entry.values[0] if isinstance(entry, Choice) else entry.low
             for key, entry in made.items()}
    return Space("SSR", made, first | (default or {}))


def search(out, of, worker=None, name="study", bigger=True, storage=None, **method):
    """A search in the journal of `out`, opened anew as a restarted process would."""
    study = open_study(open_storage(storage, out, "SSR"), name, bigger)
    return Search(study, of, Method(**{"trials": 100, **method}), worker or Worker())


def drive(of, value, limit=1000):
    """Ask and tell until the search ends or `limit` trials; return the settings in order."""
    found = []
    while len(found) < limit and (asked := of.ask()) is not None:
        found.append(asked.settings)
        of.complete(asked.number, value(asked.settings))
    return found


class FakeEngine:
    """Runs tasks in this process: `values(settings)` gives validation after every evaluation.

    A str instead is the reason of a failure; BaseException is raised, as an interruption is.
    `trained` holds the settings of all tasks in the order in which they were run.
    """

    def __init__(self, values, keys):
        self.values, self.keys, self.trained, self.stages = values, keys, [], []
        self.most = 0

    def run(self, source, jobs, watch):
        running = []
        while True:
            while len(running) < jobs and (task := source.take()) is not None:
                assert not is_complete(task)
                running.append(task)
            if not running:
                return
            self.most = max(self.most, len(running))
            watch([(task, Progress("training")) for task in running])
            task = running.pop(0)
            source.finished(task, self._train(source, task))

    def _train(self, source, task):
        settings = {key: task.settings[key] for key in self.keys if key in task.settings}
        self.trained.append((task.label, settings))
        self.stages.append(task.stage)
        values = self.values(settings)
        if isinstance(values, BaseException):
            raise values
        if isinstance(values, str):
            return Outcome(error=values)
        for k in range(len(values)):
            if not source.progressed(task, values[:k + 1]):
                return Outcome(stopped=True)
        leave_result(task, max(values))
        write_progress(task.folder, Progress("testing", valid=list(values)))
        return Outcome()


def leave_result(task, value, split="abc", features=None):
    """Leave what a run of the stage "valid" leaves."""
    task.folder.mkdir(parents=True, exist_ok=True)
    RunResult(
        run=str(task.folder), model=task.model, dataset="shop", seed=task.seed,
        protocol={"split_fingerprint": split}, config_hash="0", valid={METRIC: value}, test={},
        best_epoch=0, epochs=1, seconds_per_epoch=0.0, seconds_per_evaluation=0.0, seconds=0.0,
        peak_mib=None, parameters=1, device="cpu", versions={}, history=[],
        training={"features": features},
    ).write(VALID_FILE)
