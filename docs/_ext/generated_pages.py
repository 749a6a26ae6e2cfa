"""Pages made from the package itself, before Sphinx reads its sources.

They are included by pages that are written by hand: settings of every model and of all runs, and
the commands, so that the site says what the code does; and benchmarks/README.md, its links seen
from the site.
What model cards show of results, published figures and profiles is made by model_cards.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import model_cards
from sphinx.application import Sphinx

from recbole_ssr import registry
from recbole_ssr.commands.help import help_of, overview
from recbole_ssr.commands.table import COMMANDS
from recbole_ssr.settings import Setting, read_settings, settings_of

_HEAD = "| setting | default | meaning | type | values |\n|---|---|---|---|---|\n"


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", write_all)
    return {"parallel_read_safe": True}


def write_all(app: Sphinx) -> None:
    """Write every generated page into `_generated`, those that have changed alone."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    pages = {"commands.md": _commands(), "settings-all.md": _all_runs(),
             "benchmarks.md": _benchmarks(Path(app.srcdir).parent)}
    for model in registry.MODELS:
        pages[f"settings-{model}.md"] = _model(model)
    pages |= model_cards.pages()
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def _commands() -> str:
    parts = [f"```text\n{overview()}\n```"]
    parts += [f"## {name}\n\n```text\n{help_of(name)}\n```" for name in COMMANDS]
    return "\n\n".join(parts) + "\n"


def _benchmarks(checkout: Path) -> str:
    text = (checkout / "benchmarks" / "README.md").read_text(encoding="utf-8")
    text = text.replace("](../docs/benchmarks/", "](")
    return re.sub(r"\]\((?!https?:|#|\w+\.md)([^)\s]+)\)", r"](../../benchmarks/\1)", text)


def _all_runs() -> str:
    parts = []
    for name in ("overall.yaml", "recbole.yaml"):
        settings = [s for s in read_settings(registry.properties_folder() / name) if not s.status]
        for section in dict.fromkeys(s.section for s in settings):
            rows = [s for s in settings if s.section == section]
            parts.append(f"**{section or 'Others'}**\n\n{_table(rows)}")
    return "\n\n".join(parts) + "\n"


def _model(model: str) -> str:
    own = [s for s in settings_of(model) if s.file.startswith("model/")]
    return _table(own)


def _table(settings: list[Setting]) -> str:
    return _HEAD + "".join(
        f"| `{s.name}` | `{_cell(s.default)}` | {_cell(s.doc)} | {_cell(s.type)} "
        f"| {_cell(s.values)} |\n" for s in settings)


def _cell(value: object) -> str:
    text = "null" if value is None else str(value)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
