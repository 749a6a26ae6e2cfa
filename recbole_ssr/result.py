"""The record of a finished run: one json file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from recbole_ssr.errors import UserError

FILE = "metrics.json"


@dataclass(frozen=True)
class RunResult:
    """What a run measured and under which protocol.

    Times are wall-clock seconds, memory is MiB: the process's peak resident set on a CPU, the
    allocator's peak on a GPU. `valid` and `test` belong to the epoch that `valid_metric` chose on
    the validation part. Two results compare only where `protocol` is equal.
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

    def write(self) -> Path:
        """Write `metrics.json` into the run folder, replacing an older one in one step."""
        path = Path(self.run) / FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")
        os.replace(temporary, path)
        return path

    @classmethod
    def read(cls, folder: str | Path) -> RunResult:
        """Read the result in a run folder. Raises UserError where there is none or it is broken."""
        path = Path(folder) / FILE
        try:
            data = json.loads(path.read_text())
            return cls(**{f.name: data[f.name] for f in fields(cls)})
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: has the run finished?") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a result of this version: {error!r}") from None


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
