"""A run's embeddings in files that anyone can read without this package.

::

    export.json       model, run, dataset, split, metrics, and what the other files are
    users.npy         (users, D) float32, row r belongs to line r of users.tokens
    users.tokens      one token a line
    items.npy, items.tokens          likewise
    users.parquet, items.parquet     in their place with format parquet: token, embedding

The score of a user and an item is the inner product of their rows, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.experiment import protocol_of
from recbole_ssr.files import expanded, in_one_step
from recbole_ssr.result import RunResult
from recbole_ssr.runs import versions
from recbole_ssr.serve.ann import KINDS, name_of
from recbole_ssr.serve.recommender import Recommender

FORMATS = {"npy": ("npy", "tokens"), "parquet": ("parquet",)}  # endings of each side's files
ABOUT = "export.json"


def export(recommender: Recommender, out: str | Path, format: str = "npy",
           kinds: Sequence[str] = ()) -> list[Path]:
    """Write the embeddings of all users and items into a folder; return the files.

    `kinds` are the indices (:mod:`recbole_ssr.serve.ann`) that the caller writes beside them. What
    an earlier export has left there, indices and another format, is removed: its rows may be other
    users and items. Files that no export.json there lists are not touched.

    Raises UserError for another format, for a model whose scores are no inner products, and where
    such a file has the name of one to write.
    """
    if format not in FORMATS:
        raise UserError(f"format is {format!r}; choose npy or parquet.{nearest(format, FORMATS)}")
    folder = expanded(out)
    user, item = (x[1:].cpu().numpy().astype(np.float32) for x in recommender.embeddings())
    names, earlier = _names_of(format, kinds), _earlier(folder / ABOUT)
    for name in (ABOUT, *names):
        if name not in earlier and (folder / name).exists():
            raise UserError(f"{folder / name} is of no earlier export; move it away, or name "
                            "another folder with --out=FOLDER")
    write = {"npy": _write_npy, "parquet": _write_parquet}[format]
    files = [*write(folder, "users", user, recommender.users),
             *write(folder, "items", item, recommender.items)]
    for name in earlier - {ABOUT, *names}:
        (folder / name).unlink(missing_ok=True)
    with in_one_step(folder / ABOUT) as draft:
        draft.write_text(json.dumps(_about(recommender, user, item, names), indent=2) + "\n")
    return [*files, folder / ABOUT]


def _names_of(format: str, kinds: Sequence[str]) -> list[str]:
    return [*(f"{side}.{ending}" for side in ("users", "items") for ending in FORMATS[format]),
            *map(name_of, kinds)]


def _earlier(about: Path) -> set[str]:
    """Return the names of what an earlier export wrote, itself among them; none without one."""
    try:
        listed = json.loads(about.read_text(encoding="utf-8"))["files"]
        possible = {name for format in FORMATS for name in _names_of(format, KINDS)}
        return {ABOUT, *possible.intersection(listed)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write_npy(folder: Path, name: str, matrix: np.ndarray, tokens: np.ndarray) -> list[Path]:
    files = [folder / f"{name}.npy", folder / f"{name}.tokens"]
    with in_one_step(files[0]) as draft:
        np.save(draft, np.ascontiguousarray(matrix))
    with in_one_step(files[1]) as draft:
        draft.write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
    return files


def _write_parquet(folder: Path, name: str, matrix: np.ndarray, tokens: np.ndarray) -> list[Path]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError('format parquet needs pyarrow: pip install "recbole_ssr[report]", or take '
                        "format npy") from None
    path = folder / f"{name}.parquet"
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    with in_one_step(path) as draft:
        pq.write_table(pa.table({"token": pa.array(list(tokens)), "embedding": vectors}), draft)
    return [path]


def _about(recommender: Recommender, user: np.ndarray, item: np.ndarray, names) -> dict:
    config = recommender.experiment.config
    result = _result_of(recommender)
    measured = result if recommender.as_measured else None
    return {
        "model": config["model"], "dataset": config["dataset"], "run": str(recommender.run),
        "seed": config["seed"], "protocol": protocol_of(recommender.experiment),
        "best_epoch": result.best_epoch if result else None,
        "valid": measured.valid if measured else None, "test": measured.test if measured else None,
        "score": "inner product of a user's row and an item's row",
        "popularity_discount": getattr(recommender.experiment.model, "popularity_discount", None),
        "users": len(user), "items": len(item), "dimensions": int(user.shape[1]),
        "files": names, "versions": versions(),
    }


def _result_of(recommender: Recommender) -> RunResult | None:
    """Return what the run measured, None where it has not ended yet."""
    try:
        return RunResult.read(recommender.run)
    except UserError:
        return None
