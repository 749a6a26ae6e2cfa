"""The data, runs and checks that all cases of the fuzz suite share."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fuzz_outcome import Wrong
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.config import build_config, config_hash
from recbole_ssr.errors import UserError
from recbole_ssr.report import learning_curve as plots
from recbole_ssr.report.diagnosis import plots as diagnosis_plots
from recbole_ssr.result import RunResult

SMALL = SETTINGS | {"epochs": 1, "train_batch_size": 512, "embedding_size": 8}


def chosen(model: str, changes: Mapping[str, object], base: Mapping[str, object]) -> dict:
    """Return `base` with `changes`, where `model` has a width of its own to make small."""
    small = dict(base)
    if model in registry.MODELS and "embedding_size" not in registry_keys(model):
        del small["embedding_size"]
    return small | dict(changes)


def registry_keys(model: str) -> set[str]:
    """Return the keys of a bundled model's yaml."""
    file = registry.properties_folder() / "model" / f"{model}.yaml"
    return set(registry.read_config_file(file))


class World:
    """A folder with one small dataset, and runs on it that are trained once."""

    def __init__(self, root: Path):
        self.root = root
        self.data = write_tiny(root / "data")
        self.settings = SMALL | self.data
        self._runs: dict[str, Path] = {}

    @contextlib.contextmanager
    def case(self) -> Iterator[Path]:
        """Yield a folder of one case, which is the current one meanwhile and gone afterwards."""
        before, folder = Path.cwd(), Path(tempfile.mkdtemp(dir=self.root))
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)

    def run_of(self, model: str, **changes) -> Path:
        """Return the folder of a finished run, which no case may write to."""
        if model not in self._runs:
            settings = chosen(model, {"run_dir": str(self.root / "runs"), **changes},
                              self.settings)
            result = recbole_ssr.run(model, "tiny", config_dict=settings)
            self._runs[model] = Path(result.run)
        return self._runs[model]

    def copy_of_run(self, model: str, folder: Path) -> Path:
        """Return a copy below `folder` of a finished run."""
        return Path(shutil.copytree(self.run_of(model), folder / "run"))


@contextlib.contextmanager
def without_pictures() -> Iterator[None]:
    """Leave out pictures, which take many times as long as a run of this size."""
    drawers = ((plots, "learning_curve"), (diagnosis_plots, "draw_all"))
    before = [getattr(module, name) for module, name in drawers]
    for module, name in drawers:
        setattr(module, name, lambda *_: None)
    try:
        yield
    finally:
        for (module, name), draw in zip(drawers, before):
            setattr(module, name, draw)


def check_result(result: RunResult) -> None:
    """Raise Wrong unless every loss and metric of a result is finite."""
    measured = [result.valid, result.test, *(r["loss"] for r in result.history),
                *(r.get("valid", {}) for r in result.history)]
    for values in measured:
        for name, value in values.items():
            if not math.isfinite(value):
                raise Wrong(f"{name} is {value}")


def check_run(folder: Path) -> RunResult:
    """Raise Wrong unless a run folder holds a finite result and settings that give the same run."""

    def refuse(text):
        raise Wrong(f"metrics.json holds {text}")

    json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)
    result = RunResult.read(folder)
    check_result(result)
    try:
        again = build_config(config_files=[folder / "config.yaml"])
    except UserError as error:
        raise Wrong(f"config.yaml of a finished run is refused: {error}") from error
    if config_hash(again) != result.config_hash:
        raise Wrong("config.yaml of a finished run gives another run")
    return result
