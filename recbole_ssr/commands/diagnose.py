"""The command `diagnose`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbole_ssr.commands.words import run_and_flags, text

if TYPE_CHECKING:
    from rich.console import Console


def diagnose(argv: Sequence[str], console: Console) -> int:
    """diagnose RUN [--part=valid] [--out=FOLDER] [--device=auto] [--data_path=FOLDER]"""
    folder, flags = run_and_flags("diagnose", argv)
    options = {key: text(flags, key) for key in flags}

    from recbole_ssr.diagnose import diagnose as measure
    from recbole_ssr.report.diagnosis.tables import tables
    from recbole_ssr.report.terminal import print_sheets

    diagnosis = measure(folder, **options)
    print_sheets(console, tables(diagnosis))
    console.print(f"Files: {options.get('out', folder)} (diagnosis.json, diagnosis-*.png)",
                  soft_wrap=True)
    return 0
