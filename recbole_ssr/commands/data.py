"""The commands of one dataset: prepare, data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbole_ssr.commands.words import text
from recbole_ssr.errors import UserError
from recbole_ssr.flags import parse_flags, split_flags, typed_flags
from recbole_ssr.runs import log_to_terminal

if TYPE_CHECKING:
    from rich.console import Console


def prepare(argv: Sequence[str], console: Console) -> int:
    """prepare NAME | --from=LAYOUT PATH --name=NAME | --interactions=FILE --name=NAME |
    --like=DATASET --items=FILE --out=FOLDER
    """
    from recbole_ssr.dataset_prep.command import options_from
    from recbole_ssr.dataset_prep.options import DATA_PATH
    from recbole_ssr.dataset_prep.prepare import prepare as make
    from recbole_ssr.registry import DEMO_DATASET

    options = options_from(argv)
    if options.name == DEMO_DATASET:
        raise UserError(f"--name={DEMO_DATASET} is the name of the embedded dataset, which runs "
                        "would take in its place. Choose another name.")
    with log_to_terminal():
        folder = make(options)
    if options.like:
        console.print("Rank these items, too: recbole-ssr recommend RUN",
                      shlex.join([f"--new-items={folder}"]), markup=False, soft_wrap=True)
        return 0
    name, elsewhere = folder.name, str(folder.parent) != DATA_PATH
    place = [f"--data_path={folder.parent}"] if elsewhere else []
    for what, words in (("Train on it:", ["train", f"--dataset={name}"]),
                        ("Look at it: ", ["data", name])):
        console.print(what, shlex.join(["recbole-ssr", *words, *place]),
                      markup=False, soft_wrap=True)
    return 0


def data(argv: Sequence[str], console: Console) -> int:
    """data [NAME] [--out=FOLDER] [--KEY=VALUE ...]"""
    from recbole_ssr.data.manifest import read_manifest
    from recbole_ssr.dataset_prep.prepared import damaged_files
    from recbole_ssr.dataset_report import measured, write_report
    from recbole_ssr.report.dataset.tables import tables
    from recbole_ssr.report.terminal import print_sheets

    words = [word for word in argv[:1] if not word.startswith("-")]
    typed, others = split_flags(argv[len(words):], ["out"])  # a folder may look like a number
    out = text(typed_flags(typed, ["out"]), "out") if typed else None
    report = measured(words[0] if words else None, parse_flags(others))
    print_sheets(console, tables(report))
    manifest = read_manifest(report.folder)
    if manifest:
        damage = damaged_files(report.folder, manifest)
        for line in damage:
            console.print(f"[bold]Changed since it was prepared:[/bold] {line}", soft_wrap=True)
        if not damage:
            console.print(f"All {len(manifest['files'])} files are as they were prepared on "
                          f"{manifest['made_at'][:10]} by {manifest['made_by']}.")
    # Last, because others' datasets often lie where nobody may write.
    console.print(f"Files: {write_report(report, out)} (dataset.json, dataset.png)", soft_wrap=True)
    return 0
