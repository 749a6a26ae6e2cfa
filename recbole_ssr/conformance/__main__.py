"""`python -m recbole_ssr.conformance [KIND ...]`: print the table, as Markdown."""

from __future__ import annotations

import logging
import sys
import tempfile

from rich.console import Console

from recbole_ssr.conformance.check import DIFFERENT, check
from recbole_ssr.conformance.data import write_sixty
from recbole_ssr.conformance.items import items, model_items

HEAD = "| kind | item | | in what words |\n|---|---|---|---|"


def main(kinds: list[str]) -> int:
    """Try all items, or those of some kinds; return 1 where one differs from RecBole, else 0."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    logging.getLogger("recbole_ssr").setLevel(logging.ERROR)
    different = False
    with tempfile.TemporaryDirectory() as root:
        write_sixty(root)
        console.print(HEAD)
        for item in (*items(), *model_items()):
            if kinds and item.kind not in kinds:
                continue
            outcome = check(item, root)
            different |= outcome.verdict == DIFFERENT
            words = outcome.words.replace("|", "\\|")
            console.print(f"| {item.kind} | {item.name} | {outcome.verdict} | {words} |")
    return int(different)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
