"""The table of the ablation: means over seeds, and paired comparisons."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from records import Record, recall_by_user
from scipy.stats import permutation_test, ttest_rel

WIDTH = 100
REFERENCE, RIVAL = "default", "lightgcn+features"
# Below it a standard deviation over seeds, and so a test on it, says nothing.
MIN_SEEDS = 3
_METRIC, _RANK_METRIC = "recall@20", "ndcg@20"
_RESAMPLES, _BATCH, _TEST_SEED = 9999, 250, 0
_NAME = 24  # longest name of a line that leaves the table within WIDTH
_HEADER = ("line", "n", "valid R@20", "test R@20", "N@20", "ep", "s/ep", "MiB", "d valid, p")
_WIDTHS = (_NAME, 1, 11, 11, 5, 3, 4, 5, 12)


def rows_of(records: Sequence[Record], names: Sequence[str]) -> list[dict]:
    """Return a dict of figures for every line with a record, in the order of `names`.

    `d_valid` is the mean over common seeds of recall@20 on validation minus that of the reference
    line, `p_valid` a paired t-test on them, from MIN_SEEDS on.
    """
    done = {name: {} for name in names}
    for record in records:
        done[record.variant][record.seed] = record
    return [_row(name, by_seed, done.get(REFERENCE, {})) for name, by_seed in done.items()
            if by_seed]


def _row(name: str, by_seed: dict[int, Record], reference: dict[int, Record]) -> dict:
    failed = [record for record in by_seed.values() if record.error]
    by_seed = {seed: record for seed, record in by_seed.items() if not record.error}
    row = {"line": name, "seeds": len(by_seed),
           "failed": "; ".join(sorted({record.error for record in failed}))}
    if not by_seed:
        return row
    records = list(by_seed.values())
    for part in ("valid", "test"):
        values = [getattr(record, part)[_METRIC] for record in records]
        row[f"{part}_recall"] = np.mean(values)
        row[f"{part}_sd"] = np.std(values, ddof=1) if len(values) > 1 else None
    row["test_ndcg"] = np.mean([record.test[_RANK_METRIC] for record in records])
    for key in ("best_epoch", "seconds_per_epoch", "peak_mib"):
        values = [getattr(record, key) for record in records]
        row[key] = None if None in values else np.median(values)
    common = [seed for seed in by_seed if seed in reference and not reference[seed].error]
    if common and name != REFERENCE:
        pairs = np.array([[by_seed[s].valid[_METRIC], reference[s].valid[_METRIC]] for s in common])
        row["d_valid"] = np.mean(pairs[:, 0] - pairs[:, 1])
        if len(common) >= MIN_SEEDS and np.ptp(pairs[:, 0] - pairs[:, 1]) > 0:
            row["p_valid"] = float(ttest_rel(*pairs.T).pvalue)
    return row


def lines_of(rows: Sequence[dict]) -> list[str]:
    """Format the table as markdown of at most WIDTH columns."""
    table = [_HEADER, tuple("-" * width for width in _WIDTHS), *map(_cells, rows)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, _WIDTHS)).rstrip()
             for row in table]
    failures = [f"{row['line']} failed: {row['failed']}"[:WIDTH] for row in rows if row["failed"]]
    return [*lines, *([""] if failures else []), *failures]


def _cells(row: dict) -> tuple[str, ...]:
    if not row["seeds"]:
        return (row["line"], "0", "failed", *[""] * (len(_HEADER) - 3))
    cells = [row["line"], str(row["seeds"])]
    for part in ("valid", "test"):
        sd = row[f"{part}_sd"]
        cells.append(short(row[f"{part}_recall"]) + ("" if sd is None else f"±{short(sd)}"))
    seconds, peak = row["seconds_per_epoch"], row["peak_mib"]
    difference = ""
    if "d_valid" in row:
        difference = ("-" if row["d_valid"] < 0 else "+") + short(abs(row["d_valid"]))
        difference += f" p{short(row['p_valid'], 3)}" if "p_valid" in row else ""
    return (*cells, short(row["test_ndcg"]), f"{row['best_epoch']:.0f}",
            f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}",
            "" if peak is None else f"{peak:.0f}", difference)


def short(value: float, decimals: int = 4) -> str:
    """Write a share without the zero before its point."""
    return f"{value:.{decimals}f}".removeprefix("0")


def per_user(records: Sequence[Record], out: Path, part: str, name: str, other: str) -> dict | None:
    """Compare two lines user by user: each user's recall@20, mean over the seeds both have.

    Returns the mean difference, its 95 % interval (normal) and the two-sided p of a randomisation
    test that flips the sign of users' differences; None where there is nothing to compare.
    """
    found = []
    for line in (name, other):
        runs = {r.seed: recall_by_user(out, r, part) for r in records
                if r.variant == line and not r.error}
        found.append({seed: run for seed, run in runs.items() if run})
    seeds = found[0].keys() & found[1].keys()
    if not seeds:
        return None
    users = sorted(set.intersection(*(set(runs[s]) for runs in found for s in seeds)))
    means = [np.mean([[runs[s][u] for u in users] for s in sorted(seeds)], axis=0)
             for runs in found]
    difference = means[0] - means[1]
    test = permutation_test(
        (difference,), lambda x, axis: x.mean(axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=_RESAMPLES, batch=_BATCH, random_state=_TEST_SEED,
    )
    error = difference.std(ddof=1) / len(users) ** 0.5
    mean = difference.mean()
    return {"part": part, "users": len(users), "seeds": len(seeds), "difference": mean,
            "low": mean - 1.96 * error, "high": mean + 1.96 * error, "p": float(test.pvalue)}


def render(records: Sequence[Record], names: Sequence[str], out: Path) -> list[str]:
    """Return the table and the comparison by user as lines of text; write results.md and .csv."""
    rows = rows_of(records, names)
    lines = lines_of(rows)
    for part in ("valid", "test"):
        found = per_user(records, out, part, REFERENCE, RIVAL)
        if found:
            lines += ["", f"{REFERENCE} minus {RIVAL}, {part} R@20 by user: "
                          "{difference:+.4f} [{low:+.4f}, {high:+.4f}], p {p:.4f}"
                          .format(**found),
                      f"({found['users']} users, means over {found['seeds']} seeds; two-sided "
                      f"randomisation test, {_RESAMPLES} draws)"]
    save(lines, rows, out)
    return lines


def save(lines: Sequence[str], rows: Sequence[dict], out: Path) -> None:
    """Write a table as text (results.md) and its figures (results.csv)."""
    (out / "results.md").write_text("\n".join(lines) + "\n")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with open(out / "results.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, keys or ["line"])
        writer.writeheader()
        writer.writerows(rows)
