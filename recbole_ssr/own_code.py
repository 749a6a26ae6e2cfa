"""Which code of a model from elsewhere its runs were trained by; their settings do not tell.

A run of such a model leaves CODE in its folder; folders from before there was one are accepted, and
so are models without a file. Bundled models and RecBole's own have none: of these the versions in
metrics.json tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step

CODE = "code.json"


class Code(NamedTuple):
    """The module that registers a model, its file, and the sha256 (hex) of that file's bytes."""

    model: str
    module: str
    file: str
    sha256: str


_known: dict[str, Code] = {}  # by model, as it was imported


def note(model: str, module: ModuleType) -> None:
    """Keep what the file of a module holds now, when it registers a model."""
    _known.pop(model, None)
    file = getattr(module, "__file__", None)
    # A script holds the calls of its runs too, and changes from one to the next.
    if file and module.__name__ != "__main__" and Path(file).is_file():
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        _known[model] = Code(model, module.__name__, str(Path(file).resolve()), digest)


def hash_of(model: str) -> str | None:
    """Return the hash of a model's code; None of bundled ones, RecBole's and those of no file."""
    return _known[model].sha256 if model in _known else None


def leave(folder: Path, model: str) -> None:
    """Record in a run folder by which code the run is trained."""
    if model in _known:
        with in_one_step(folder / CODE) as draft:
            draft.write_text(json.dumps(_known[model]._asdict(), indent=1) + "\n")


def recorded(folder: Path) -> Code | None:
    """Return what a run recorded, None where there is nothing, or nothing that can be read."""
    try:
        return Code(**json.loads((folder / CODE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def change_since(folder: Path, model: str) -> str | None:
    """Say that a run is of other code than its model has now; return None where it is not."""
    was, now = recorded(folder), _known.get(model)
    if was is None or now is None or was.sha256 == now.sha256:
        return None
    return (f"{folder} was run with other code of {model} (hash {was.sha256[:12]}) than "
            f"{now.file} has now ({now.sha256[:12]})")


def check_loaded(folder: Path, models: Container[str]) -> None:
    """Raise UserError where the model of a run is registered by a module that was not imported."""
    was = recorded(folder)
    if was is not None and was.model not in models:
        raise UserError(f"{folder} is a run of {was.model}, which the module {was.module} "
                        f"registers ({was.file}). Give RECBOLE_SSR_PLUGINS={was.module}, with the "
                        "folder of the module on PYTHONPATH, or import it first.")
