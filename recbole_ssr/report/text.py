r"""A comparison as Markdown and as LaTeX. Both print the sheets that the terminal prints."""

from __future__ import annotations

import re
from collections.abc import Callable

from recbole_ssr.comparison import Comparison
from recbole_ssr.report.comparison.rows import sheets
from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.sheet import BEST, NUMBER, PROSE, SECOND, Cell, Sheet

_MARKDOWN = {BEST: "**{}**", SECOND: "<u>{}</u>", "": "{}"}
_LATEX = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}", "": "{}"}
_LATEX_LETTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$",
    "×": r"$\times$", "…": r"\ldots{}", "`": r"\textasciigrave{}",
    '"': r"{\char34}", "[": "{[}", "]": "{]}", "*": "{*}",  # after \\ the last three mean something
}  # fmt: skip
_PROSE = 0.7  # of the page's width, for all columns of prose together
# A sign of a number, not the hyphen of a word.
_MINUS = re.compile(r"(?<![\w.\]])-(?=[.\d])")
_HEAD = r"""% Needs \usepackage{booktabs} and \usepackage{graphicx}.
% Tables that are wider or higher than the page are scaled down to it.
\providecommand{\comparisontable}[1]{%
  \sbox0{#1}%
  \ifdim\wd0>\textwidth\sbox0{\resizebox{\textwidth}{!}{\usebox0}}\fi
  \ifdim\dimexpr\ht0+\dp0\relax>0.8\textheight
    \sbox0{\resizebox*{!}{0.8\textheight}{\usebox0}}\fi
  \usebox0}
% Words of a narrow column, which would be torn apart if they had to fill its lines.
\providecommand{\comparisonprose}{\raggedright\let\\\tabularnewline}
"""


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown, with a heading each and notes below."""
    heading = f"# Comparison on {_markdown_text(comparison.dataset)}\n"
    return "\n".join([heading, *map(_markdown_sheet, sheets(comparison))])


def latex(comparison: Comparison) -> str:
    """Return all tables for a paper, with booktabs, to be read by \\input.

    Every caption states the protocol and what marks mean.
    """
    protocol = f"{comparison.dataset}, {protocol_title(comparison.protocol)}."
    return "\n".join([_HEAD, *(_latex_sheet(sheet, protocol) for sheet in sheets(comparison))])


def latex_text(text: str) -> str:
    """Escape what LaTeX would take for a command; letters of other scripts stay as they are."""
    text = _MINUS.sub("\u2212", " ".join(text.split()))
    text = "".join(_LATEX_LETTERS.get(letter, letter) for letter in text)
    text = re.sub("-(?=-)", "-{}", text)  # else a dash
    return text.replace("\u2212", "$-$")


def _markdown_sheet(sheet: Sheet) -> str:
    title = f"## {_markdown_text(sheet.title)}\n"
    head = [_markdown_text(column.name) for column in sheet.columns]
    rule = ["--:" if column.kind == NUMBER else ":--" for column in sheet.columns]
    rows = [[_marked(cell, _MARKDOWN, _markdown_text) for cell in row] for row in sheet.rows]
    table = "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))
    if sheet.apart:  # a quotation, which every viewer sets apart
        title, table = f"{title}\n", "".join(f"> {line}\n" for line in table.splitlines())
        return "\n".join([title + table, *(f"> {_markdown_text(note)}\n" for note in sheet.notes)])
    return "\n".join([title, table, *(f"{_markdown_text(note)}\n" for note in sheet.notes)])


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def _latex_sheet(sheet: Sheet, protocol: str) -> str:
    proses = sum(column.kind == PROSE for column in sheet.columns)
    forms = {NUMBER: "r", PROSE: rf"p{{{_PROSE / max(proses, 1):.2f}\textwidth}}"}
    letters = "".join(forms.get(column.kind, "l") for column in sheet.columns)
    rows = [" & ".join(_latex_cell(cell, column.kind == PROSE)
                       for cell, column in zip(row, sheet.columns, strict=True)) + r" \\"
            for row in sheet.rows]
    head = " & ".join(latex_text(column.name) for column in sheet.columns) + r" \\"
    if not any(column.name for column in sheet.columns):
        body = [r"\toprule", *rows, r"\bottomrule"]
    else:
        body = [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    # The main table's title says the protocol itself; published figures have others.
    told = [f"{sheet.title}.", *([] if sheet.apart or sheet.name == "main" else [protocol]),
            *sheet.notes]
    caption = " ".join(map(latex_text, told))
    return "\n".join([
        r"\begin{table*}[tbp]", r"\centering\small", rf"\caption{{{caption}}}",
        rf"\label{{tab:comparison-{sheet.name}}}",
        rf"\comparisontable{{\begin{{tabular}}{{{letters}}}", *body, r"\end{tabular}}",
        r"\end{table*}", "",
    ])


def _latex_cell(cell: Cell, prose: bool) -> str:
    text = _marked(cell, _LATEX, latex_text)
    # A path has no place else where a line may end.
    return r"\comparisonprose " + text.replace("/", r"/\allowbreak{}") if prose else text


def _marked(cell: Cell, forms: dict[str, str], escaped: Callable[[str], str]) -> str:
    return forms[cell.mark].format(escaped(cell.text))
