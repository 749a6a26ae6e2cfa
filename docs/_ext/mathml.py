"""Formulas as MathML, which browsers draw by themselves: no script, no network."""

from __future__ import annotations

import re
import unicodedata

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True}


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    text = re.sub(r"\\(begin|end)\{(split|gather\*?|aligned|align\*?)\}", "", node.astext())
    if r"\\" in text and r"\begin" not in text:  # what latex2mathml knows of them
        text = rf"\begin{{align*}}{text}\end{{align*}}"
    translator.body.append(f'<div class="math">{_mathml(text, "block")}</div>')
    raise nodes.SkipNode


def _mathml(text: str, display: str) -> str:
    """Return MathML whose script and double-struck capitals are characters of their own.

    MathML Core has no attribute for them, so that browsers would draw plain ones.
    """
    return re.sub(r'mathvariant="(script|double-struck)">([A-Z])<',
                  lambda m: f">{_capital(m[1].upper(), m[2])}<", convert(text, display=display))


def _capital(kind: str, letter: str) -> str:
    try:
        return unicodedata.lookup(f"{kind} CAPITAL {letter}")
    except KeyError:
        return unicodedata.lookup(f"MATHEMATICAL {kind} CAPITAL {letter}")
