"""Records as json files."""

from __future__ import annotations

import json
import math
from pathlib import Path

from recbole_ssr.files import in_one_step


def write_record(record: dict, path: Path, indent: int = 1, out: str = "folder") -> Path:
    """Write a record, replacing an older one in one step; return its path.

    Raises UserError where it cannot be written; `out` is what --out of the command names.
    """
    with in_one_step(path, f"Name another {out} with --out={out.upper()}") as draft:
        draft.write_text(as_json(record, indent), encoding="utf-8")
    return path


def as_json(record: dict, indent: int = 1) -> str:
    """Return a record as text; nan and infinite numbers as null."""
    return json.dumps(_plain(record), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """Return a value as json has it: tuples as lists, numbers that are none as null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
