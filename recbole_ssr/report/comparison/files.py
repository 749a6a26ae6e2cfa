"""A comparison as files: json with everything, csv for spreadsheets, Markdown and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path

import pandas as pd

from recbole_ssr.comparison import (
    Comparison,
    Curve,
    Difference,
    Failure,
    Group,
    Line,
    Published,
    Spread,
)
from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step
from recbole_ssr.report.text import latex, markdown
from recbole_ssr.result import RunResult

NAME = "comparison"
FORMAT = 1  # of comparison.json
COSTS = ("best_epoch", "epochs", "seconds_per_epoch", "seconds_per_evaluation", "seconds",
         "peak_mib", "parameters")


def write_files(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.json, .csv, .md and .tex, and .parquet where pyarrow is installed.

    Each replaces an older one in one step. Returns their paths. Raises UserError where one cannot
    be written; those before it are complete.
    """
    folder = Path(folder)
    table = frame(comparison)
    contents = {"json": to_json(comparison).encode(),
                "csv": table.to_csv(index=False, lineterminator="\n").encode(),
                "md": markdown(comparison).encode(), "tex": latex(comparison).encode()}
    parquet = _parquet(table)
    if parquet is not None:
        contents["parquet"] = parquet
    return [_write(folder / f"{NAME}.{ending}", content) for ending, content in contents.items()]


def frame(comparison: Comparison) -> pd.DataFrame:
    """Return one row per line, part, metric and seed, with mean and std over the line's seeds.

    Columns: dataset, line, model, part (valid, test or cost), metric, seed, value, mean, std (nan
    of one seed), seeds (how many mean and std are of), best and second (marks, of test only).
    """
    names = ("dataset", "line", "model", "part", "metric", "seed", "value", "mean", "std", "seeds",
             "best", "second")
    return pd.DataFrame(list(_rows(comparison)), columns=names)


def to_json(comparison: Comparison) -> str:
    """Return everything as text; nan and infinite numbers as null. Equal for equal comparisons."""
    return json.dumps({"format": FORMAT, **_plain(asdict(comparison))}, indent=1,
                      ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | Path) -> Comparison:
    """Return the comparison that `write_files` wrote; null becomes nan where a number belongs.

    Raises UserError where the file is missing, damaged or of another version.
    """
    path = Path(path)
    remedy = "Give the command of the comparison again to write it anew"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise UserError(f"{path} has format {data['format']!r}, not {FORMAT}. {remedy}")
        return _comparison(data)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a comparison: {error!r}. {remedy}") from None


def _parquet(table: pd.DataFrame) -> bytes | None:
    """Return a table as parquet; None without pyarrow, or with one for another numpy."""
    buffer = BytesIO()
    try:
        table.to_parquet(buffer, engine="pyarrow", index=False)
    except ImportError:
        return None
    return buffer.getvalue()


def _rows(comparison: Comparison) -> Iterator[tuple]:
    for line in comparison.lines:
        parts = {part: dict.fromkeys(m for r in line.results for m in getattr(r, part))
                 for part in ("valid", "test")}
        for part, metrics in {**parts, "cost": COSTS}.items():
            for metric in metrics:
                yield from _rows_of(comparison, line, part, metric)


def _rows_of(comparison: Comparison, line: Line, part: str, metric: str) -> Iterator[tuple]:
    values = {result.seed: getattr(result, metric) if part == "cost"
              else getattr(result, part)[metric] for result in line.results}
    spread = Spread.of([value for value in values.values() if value is not None])
    tested = part == "test" and metric in comparison.metrics
    marks = comparison.marks(metric) if tested else (None, None)
    for seed, value in values.items():
        yield (comparison.dataset, line.label, line.model, part, metric, seed,
               math.nan if value is None else float(value), *spread,
               *(line.label == mark for mark in marks))


def _plain(value: object) -> object:
    """Return a value as json has it: tuples as lists, numbers that are none as null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _comparison(data: dict) -> Comparison:
    return Comparison(
        dataset=data["dataset"], protocol=data["protocol"],
        lines=tuple(map(_line, data["lines"])),
        differences=tuple(_difference(entry) for entry in data["differences"]),
        groups=tuple(Group(**{**entry, "values": {
            metric: _spreads(by_label) for metric, by_label in entry["values"].items()}})
            for entry in data["groups"]),
        curves=tuple(Curve(**{**entry, "levels": tuple(entry["levels"]), "values": {
            label: tuple(map(_spread, points)) for label, points in entry["values"].items()}})
            for entry in data["curves"]),
        published=tuple(Published(*_of(Published, entry, values=_numbers))
                        for entry in data["published"]),
        notes=tuple(data["notes"]), metrics=tuple(data["metrics"]))


def _of(kind: type, entry: object, **readers) -> list:
    """Return the fields of a named tuple, that asdict keeps as such and json as a list."""
    return [readers[name](value) if name in readers else value
            for name, value in zip(kind._fields, entry, strict=True)]


def _line(entry: dict) -> Line:
    return Line(**{**entry, "results": tuple(map(_result, entry["results"])),
                   "failures": tuple(Failure(*failure) for failure in entry["failures"])})


def _result(entry: dict) -> RunResult:
    known = {f.name for f in fields(RunResult)}
    history = [{name: _numbers(value) if isinstance(value, dict) else _number(value)
                for name, value in record.items()} for record in entry["history"]]
    return RunResult(**{name: value for name, value in entry.items() if name in known} | {
        "valid": _numbers(entry["valid"]), "test": _numbers(entry["test"]), "history": history})


def _difference(entry: dict) -> Difference:
    numbers = {name: _number(entry[name]) for name in ("mean", "low", "high", "effect")}
    return Difference(**{**entry, **numbers, "p": _numbers(entry["p"])})


def _spread(entry: list) -> Spread:
    mean, std, n = entry
    return Spread(_number(mean), _number(std), n)


def _spreads(by_label: dict) -> dict[str, Spread]:
    return {label: _spread(entry) for label, entry in by_label.items()}


def _numbers(entry: dict) -> dict[str, float]:
    return {name: _number(value) for name, value in entry.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _write(path: Path, content: bytes) -> Path:
    """Write a file in one step; an older one stays as it is where that fails."""
    with in_one_step(path, "Free space there, or name another folder with --out=FOLDER") as draft:
        draft.write_bytes(content)
    return path
