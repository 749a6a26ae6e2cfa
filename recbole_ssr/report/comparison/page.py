"""One HTML file with all of a comparison: it opens offline and asks no server for anything."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from recbole_ssr.comparison import Comparison
from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step
from recbole_ssr.report.comparison.plots import Picture
from recbole_ssr.report.comparison.rows import sheets
from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.sheet import Sheet, counted, each_note_once

_TEMPLATE = "page.html.j2"
# Sections in their order: anchor, title, beginnings of the names of their tables and pictures.
_SECTIONS = (
    ("results", "Results", ("main", "metrics", "seconds")),
    ("failures", "Failed runs", ("failures",)),
    ("learning", "Learning", ("learning",)),
    ("significance", "Significance", ("differences",)),
    ("groups", "Groups of users and items", ("groups-users", "groups-cold", "groups-popularity")),
    ("beyond", "Beyond accuracy", ("groups-beyond", "beyond")),
    ("curves", "Robustness and sparsity", ("curve",)),
    ("published", "Published figures", ("published",)),
    ("protocol", "Protocol and settings", ("protocol", "settings", "configurations")),
    ("further", "Further tables", ("",)),
)
_INK, _PAPER = "#000000", "#ffffff"
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # else the time of writing


class Shown(NamedTuple):
    """A picture ready for a page: what it shows, its SVG."""

    caption: str
    svg: str


class Section(NamedTuple):
    """A part of the report with an anchor."""

    anchor: str
    title: str
    sheets: list[Sheet]
    pictures: list[Shown]


def write_html(comparison: Comparison, drawn: Sequence[Picture], path: str | Path) -> Path:
    """Write the report in one step and return its path; equal comparisons give equal files.

    `drawn` are the pictures of the comparison.

    Raises UserError without jinja2, or where the file cannot be written.
    """
    path = Path(path)
    text = render(comparison, drawn)
    with in_one_step(path, "Free space there, or name another folder with --out=FOLDER") as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def render(comparison: Comparison, drawn: Sequence[Picture]) -> str:
    """Return the report as HTML, with these pictures. Raises UserError without jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise UserError("the HTML report needs jinja2: pip install \"recbole_ssr[compare]\"; "
                        "every other output is written without it") from None
    # What a label says must never become markup: everything but our own SVG is escaped.
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(_TEMPLATE).render(
        dataset=comparison.dataset, protocol=protocol_title(comparison.protocol),
        counts=_counts(comparison), sections=sections(sheets(comparison), drawn), Markup=Markup,
        zip=zip)


def sections(tables: Sequence[Sheet], drawn: Sequence[Picture]) -> list[Section]:
    """Return the sections that have something to show; every table and picture is in one."""
    shown = []
    left, undrawn = list(tables), list(drawn)
    for anchor, title, names in _SECTIONS:
        chosen = [sheet for sheet in left if sheet.name.startswith(names)]
        seen = [p for p in undrawn if p.name.startswith(names) or p.name == anchor]
        left = [sheet for sheet in left if sheet not in chosen]
        undrawn = [p for p in undrawn if p not in seen]
        if chosen or seen:
            shown.append(Section(anchor, title, each_note_once(chosen),
                                 [Shown(p.caption, svg(p.figure, p.name)) for p in seen]))
    return shown


def svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG to stand inside of a page, in the page's own ink and paper.

    Text stays text. Identifiers are those that the picture itself refers to, unique by `name`.
    """
    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata=_METADATA)
    text = stream.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head).group()
    used = set(re.findall(r"[\"(]#([\w-]+)", rest))
    rest = re.sub(r' id="([^"]+)"', lambda m: m.group() if m[1] in used else "", rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    rest = rest.replace(_INK, "currentColor").replace(_PAPER, "var(--paper)")
    return f'<svg {box} role="img">{rest.strip()}'


def _counts(comparison: Comparison) -> str:
    done = sum(len(line.results) for line in comparison.lines)
    failed = sum(len(line.failures) for line in comparison.lines)
    lines = counted(len(comparison.lines), "line")
    return f"{lines}, {counted(done, 'finished run')}, {counted(failed, 'failed run')}"
