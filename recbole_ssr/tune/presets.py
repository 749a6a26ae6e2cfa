"""Presets: what tuning selected, as an ordinary config file that says how it was found."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from recbole_ssr import registry, runs
from recbole_ssr.config import WITHOUT_EFFECT_ON_RESULTS
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.files import expanded
from recbole_ssr.flags import read_config_file
from recbole_ssr.tune.space import PROTOCOL
from recbole_ssr.tune.tuning import Selected

FOLDER = "presets"
_LONGEST = 50  # characters of a file's name: of four bytes each, with a draft's, 255 hold them
_NOTE = re.compile(r"# ([a-z ]+): (.*)")


class Preset(NamedTuple):
    """A file of settings for one model.

    Attributes:
        model: the class.
        settings: over its defaults.
        file: where they were read.
        notes: the file's comments by name: line, dataset, split, reached, trials and so on.
    """

    model: str
    settings: dict
    file: Path
    notes: dict[str, str]

    @property
    def label(self) -> str:
        """Label of the line that was tuned, the model's name where the file does not say."""
        return self.notes.get("line", self.model)

    @property
    def trials(self) -> int | None:
        """Trials that were made before these settings were selected; None untold."""
        return self._count(r"(\d+)")

    @property
    def pruned(self) -> int:
        """How many of the trials were stopped early; 0 untold."""
        return self._count(r".* (\d+) pruned") or 0

    def _count(self, pattern: str) -> int | None:
        found = re.match(pattern, self.notes.get("trials", ""))
        return int(found[1]) if found else None


def write_preset(out: str | Path, selected: Selected, settings: Mapping | None = None) -> Path:
    """Write `<out>/presets/<label>.yaml` and return its path.

    A label that is no name of a file is changed, and a hash of it appended.

    Args:
        out: output folder of the comparison.
        selected: of tuning.
        settings: what the line had beside those selected, which are kept with them. Protocol,
            machine and the columns of the data are not part of a preset.
    """
    fixed = {key: value for key, value in (settings or {}).items() if not (
        key in PROTOCOL or key in WITHOUT_EFFECT_ON_RESULTS or key.isupper())}
    content = {"model": selected.model, **fixed, **selected.settings}
    path = Path(out) / FOLDER / f"{_name_of(selected.label)}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    text = "".join(f"# {name}: {value}\n" for name, value in _notes(selected).items())
    text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    runs.write_text(path, "# Selected on validation by recbole-ssr tune; use it with "
                          f"--preset={path} or --config_files.\n{text}")
    return path


def read_presets(paths: str | Path | Iterable[str | Path]) -> dict[str, Preset]:
    """Return the presets of files, folders, or text with commas, by label.

    Raises UserError for a path that is missing, a file that names no model or an unknown one, and
    two files for one line.
    """
    parts = str(paths).split(",") if isinstance(paths, (str, Path)) else list(paths)
    presets: dict[str, Preset] = {}
    for part in parts:
        for file in _files(expanded(str(part).strip())):
            preset = _read(file)
            label = preset.label
            if label in presets and presets[label] != preset:
                raise UserError(f"Both {presets[label].file} and {file} are presets of {label}. "
                                "Name the one to use.")
            presets[label] = preset
    return presets


def _name_of(label: str) -> str:
    """Return a label as the name of a file; no two labels have the same."""
    name = re.sub(r"[^\w.+-]+", "_", label)[:_LONGEST]
    if name == label:
        return name
    return f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        beside = [file.name for file in path.parent.glob("*.yaml")]
        raise UserError(f"There is no preset {str(path)!r}.{nearest(path.name, beside)} A preset "
                        "is a yaml, or a folder of them.")
    files = sorted(path.glob("*.yaml"))
    if not files:
        raise UserError(f"The folder {str(path)!r} holds no preset: it has no yaml.")
    return files


def _read(file: Path) -> Preset:
    settings = read_config_file(file)
    model = settings.pop("model", None)
    if model is None:
        raise UserError(f"{file} is no preset: it does not say its model. Add a line such as "
                        "'model: SSR'.")
    notes = {match[1]: match[2] for line in file.read_text(encoding="utf-8").splitlines()
             if (match := _NOTE.fullmatch(line))}
    return Preset(registry.canonical(str(model)), settings, file, notes)


def _notes(selected: Selected) -> dict[str, str]:
    method, versions = selected.method, runs.versions()
    size = "continuous" if selected.size is None else f"{selected.size} settings"
    default = "failed" if selected.default is None else f"{selected.default:.6g}"
    if selected.default_pruned:
        default += " when they were pruned"
    pruner = "no pruner" if method.pruner == "none" else f"pruner {method.pruner}"
    return {
        "line": selected.label,
        "dataset": selected.dataset,
        "split": selected.split or "not told",
        "metric": f"{selected.metric} on validation",
        "reached": f"{selected.value:.6g}, {selected.begun} {default}",
        "trials": f"{selected.complete + selected.pruned} ({selected.complete} complete, "
                  f"{selected.pruned} pruned), {selected.failed} failed, budget {method.trials}",
        "sampler": f"{method.sampler}, seed {method.seed}, {pruner}",
        "space": size,
        "study": selected.study,
        "date": time.strftime("%Y-%m-%d"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
