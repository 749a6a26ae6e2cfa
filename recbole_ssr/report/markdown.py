"""Sheets as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from recbole_ssr.report.sheet import BEST, NUMBER, SECOND, Sheet

_MARKS = {BEST: "**{}**", SECOND: "<u>{}</u>"}


def markdown(heading: str, sheets: Iterable[Sheet]) -> str:
    """Return tables with a heading each and notes below."""
    return "\n".join([f"# {_text(heading)}\n", *map(_sheet, sheets)])


def _sheet(sheet: Sheet) -> str:
    title = f"## {_text(sheet.title)}\n"
    head = [_text(column.name) for column in sheet.columns]
    rule = ["--:" if column.kind == NUMBER else ":--" for column in sheet.columns]
    rows = [[_MARKS.get(cell.mark, "{}").format(_text(cell.text)) for cell in row]
            for row in sheet.rows]
    table = "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))
    if sheet.apart:  # a quotation, which every viewer sets apart
        title, table = f"{title}\n", "".join(f"> {line}\n" for line in table.splitlines())
        return "\n".join([title + table, *(f"> {_text(note)}\n" for note in sheet.notes)])
    return "\n".join([title, table, *(f"{_text(note)}\n" for note in sheet.notes)])


def _text(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", " ".join(text.split()))
