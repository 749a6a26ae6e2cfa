"""Sheets as LaTeX, to be read by \\input into a paper that has booktabs and graphicx."""

from __future__ import annotations

import re
from collections.abc import Iterable

from recbole_ssr.report.sheet import BEST, NUMBER, PROSE, SECOND, Cell, Sheet

_MARKS = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}
_LETTERS = {
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


def latex(sheets: Iterable[Sheet], protocol: str) -> str:
    """Return tables whose captions state the protocol and what marks mean."""
    return "\n".join([_HEAD, *(_sheet(sheet, protocol) for sheet in sheets)])


def latex_text(text: str) -> str:
    """Escape what LaTeX would take for a command; letters of other scripts stay as they are."""
    text = _MINUS.sub("\u2212", " ".join(text.split()))
    text = "".join(_LETTERS.get(letter, letter) for letter in text)
    text = re.sub("-(?=-)", "-{}", text)  # else a dash
    return text.replace("\u2212", "$-$")


def _sheet(sheet: Sheet, protocol: str) -> str:
    proses = sum(column.kind == PROSE for column in sheet.columns)
    forms = {NUMBER: "r", PROSE: rf"p{{{_PROSE / max(proses, 1):.2f}\textwidth}}"}
    letters = "".join(forms.get(column.kind, "l") for column in sheet.columns)
    rows = [" & ".join(_cell(cell, column.kind == PROSE)
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


def _cell(cell: Cell, prose: bool) -> str:
    text = _MARKS.get(cell.mark, "{}").format(latex_text(cell.text))
    # A path has no place else where a line may end.
    return r"\comparisonprose " + text.replace("/", r"/\allowbreak{}") if prose else text
