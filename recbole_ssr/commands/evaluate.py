"""The command `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ssr.commands.words import run_and_flags, text
from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded
from recbole_ssr.flags import value_of

if TYPE_CHECKING:
    from rich.console import Console

_MEASURED = ("metrics", "topk", "popularity_discount")
_CORRUPTION = ("drop_modality", "feature_missing", "feature_noise")


def evaluate(argv: Sequence[str], console: Console) -> int:
    """evaluate RUN [--topk=LIST] [--metrics=LIST] [--part=valid] [--out=FILE] ..."""
    run, flags = run_and_flags("evaluate", argv)
    out = _json_file(text(flags, "out")) if "out" in flags else None
    options = {key: text(flags, key) for key in ("part", "device", "data_path") if key in flags}
    settings = {key: value_of(key, text(flags, key)) for key in (*_MEASURED, *_CORRUPTION)
                if key in flags}

    from recbole_ssr import measurement
    from recbole_ssr.report.evaluation import evaluation_table
    from recbole_ssr.report.record import write_record
    from recbole_ssr.report.terminal import print_sheets

    worse = {key: settings.pop(key) for key in _CORRUPTION if key in settings}
    facts = measurement.evaluate(run, worse or None, **settings, **options).facts()
    print_sheets(console, [evaluation_table(facts)])
    if any(worse.values()) and facts["corruption"] is None:
        console.print(f"{facts['model']} loads no features of items: none were made worse.")
    if out is not None:
        console.print(f"File: {write_record(facts, out, out='file')}", soft_wrap=True, markup=False)
    return 0


def _json_file(name: str) -> Path:
    path = expanded(name)
    if path.suffix != ".json":
        raise UserError(f"--out={name} must name a .json file")
    return path
