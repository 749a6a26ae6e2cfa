"""Runs of clean training, measured once more with disturbed features: a file beside each run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from recbole_ssr.files import ABANDONED_SECONDS, in_one_step, sweep

FOLDER = "measured"  # in the run's folder


def path_of(run: Path, settings: dict) -> Path:
    """Return the file of a disturbance."""
    text = json.dumps(settings, sort_keys=True)
    return run / FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def read(run: Path, settings: dict) -> dict | None:
    """Return settings, valid and test metrics of a disturbance, or None where not measured yet."""
    try:
        found = json.loads(path_of(run, settings).read_text())
        return found if found["settings"] == settings else None
    except (OSError, ValueError, KeyError):
        return None


def write(run: Path, settings: dict, valid: dict[str, float], test: dict[str, float]) -> Path:
    """Keep what was measured, in one step."""
    path = path_of(run, settings)
    sweep(path.parent, ABANDONED_SECONDS)
    with in_one_step(path) as draft:
        draft.write_text(json.dumps({"settings": settings, "valid": valid, "test": test}) + "\n")
    return path
