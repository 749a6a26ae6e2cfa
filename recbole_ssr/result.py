"""The record of a finished run: one json file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step

FILE = "metrics.json"
# Metrics of RecBole of which less is more.
_SMALLER = ("averagepopularity", "giniindex", "logloss", "mae", "rmse")
VALID_FILE = "valid.json"  # of a run that has been trained and validated, and not been tested


@dataclass(frozen=True)
class RunResult:
    """What a run measured and under which protocol.

    Times are wall-clock seconds, memory is MiB: the process's peak resident set on a CPU, the
    allocator's peak on a GPU. `valid` and `test` belong to the epoch that `valid_metric` chose on
    the validation part; `test` is empty where nothing was tested. Two results compare only where
    `protocol` is equal; `training` says how the model was trained, which may differ, and
    `calibration`, where a model was calibrated on the validation part, its gains and the metrics
    of both parts without them.
    """

    run: str
    model: str
    dataset: str
    seed: int
    protocol: dict
    config_hash: str
    valid: dict[str, float]
    test: dict[str, float]
    best_epoch: int
    epochs: int
    seconds_per_epoch: float
    seconds_per_evaluation: float
    seconds: float
    peak_mib: float | None
    parameters: int
    device: str
    versions: dict[str, str]
    history: list[dict]
    training: dict = field(default_factory=dict)
    calibration: dict = field(default_factory=dict)

    def write(self, file: str = FILE) -> Path:
        """Write the result into the run folder, replacing an older one in one step."""
        path = Path(self.run) / file
        with in_one_step(path) as draft:
            draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return path

    @classmethod
    def read(cls, folder: str | Path, file: str = FILE) -> RunResult:
        """Read the result in a run folder. Raises UserError where there is none or it is broken."""
        path = Path(folder) / file
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: has the run finished?") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is not a result of this version: {error!r}") from None


def larger_is_better(metric: str) -> bool:
    """Tell the direction of a metric such as "recall@20" or "logloss".

    >>> larger_is_better("recall@20"), larger_is_better("logloss")
    (True, False)
    """
    return metric.partition("@")[0].lower() not in _SMALLER


def earlier_results(run_dir: str | Path, like: RunResult) -> list[RunResult]:
    """Return the newest result of every other model in `run_dir` under the protocol of `like`."""
    newest: dict[str, RunResult] = {}
    files = sorted(Path(run_dir).glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
    for path in files:
        try:
            result = RunResult.read(path.parent)
        except UserError:
            continue
        if result.protocol == like.protocol and result.model != like.model:
            newest[result.model] = result
    return [newest[name] for name in sorted(newest)]
