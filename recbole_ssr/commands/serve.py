"""The command lines that use a finished run: recommend, export, explain, browse."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded
from recbole_ssr.flags import typed_flags, value_of
from recbole_ssr.runs import log_to_terminal

if TYPE_CHECKING:
    from rich.console import Console

_USERS_SHOWN = 10  # on the terminal; a file takes all
_LOADING = ("new_items", "device")
_RECOMMEND = ("users", "all", "history", "topk", "out", "keep_seen", "candidates", "where",
              "unknown", *_LOADING)
_EXPORT = ("out", "format", "index", *_LOADING)
_BROWSE = ("port", *_LOADING)
_PORT, _LAST_PORT = 8765, 65535
_EXPLAIN = ("user", "item", "plot", "out", *_LOADING)


def recommend(argv: Sequence[str], console: Console) -> int:
    """recommend RUN --users=u1,u2 | --users=FILE | --all | --history=FILE [--topk=20] ..."""
    from recbole_ssr.serve.writers import check_format, write_blocks

    run, flags = _run_and_flags("recommend", argv, _RECOMMEND)
    out = check_format(flags["out"]) if "out" in flags else None
    options = _ranking_options(flags)
    if options["users"] is None and options["history"] is None and out is None:
        raise UserError("--all has many rows; name a file with --out=recommendations.csv, .jsonl "
                        "or .parquet")
    recommender = _loaded(run, flags)
    with log_to_terminal():
        blocks = recommender.blocks(**options)
        if out is None:
            _show(recommender, next(blocks), console)
        else:
            rows = write_blocks(blocks, out)
            console.print(f"{rows:,} rows: {out}", soft_wrap=True, markup=False)
    return 0


def _ranking_options(flags: dict) -> dict:
    """Return what Recommender.blocks is asked for. Raises UserError where nobody is named."""
    from recbole_ssr.serve.histories import read_histories, tokens_from

    users = tokens_from(_text(flags, "users")) if "users" in flags else None
    history = read_histories(_text(flags, "history")) if "history" in flags else None
    if _switch(flags, "all") != (users is None and history is None):
        raise UserError("say whom to recommend to, once: --users=u1,u2, --users=FILE, "
                        "--history=FILE or --all")
    return {
        "users": users, "history": history, "k": _whole_number(flags, "topk", 20),
        "keep_seen": _switch(flags, "keep_seen"), "where": _where(flags),
        "candidates": tokens_from(_text(flags, "candidates")) if "candidates" in flags else None,
        "unknown": str(flags.get("unknown", "error")),
    }


def _show(recommender, found, console: Console) -> None:
    from recbole_ssr.report.recommendation_table import recommendation_table

    users = list(dict.fromkeys(found["user"]))
    found = found[found["user"].isin(users[:_USERS_SHOWN])]
    catalogue = recommender.catalogue
    config = recommender.experiment.config
    titles = catalogue.table.titles(catalogue.item_ids(found["item"]))
    console.print(recommendation_table(found, titles, f"{config['model']} on {config['dataset']}"))
    if len(users) > _USERS_SHOWN:
        console.print(f"The first {_USERS_SHOWN} users; a file takes all: --out=FILE.csv")


def export(argv: Sequence[str], console: Console) -> int:
    """export RUN --out=FOLDER [--format=npy|parquet] [--index=flat,hnsw]"""
    from recbole_ssr.serve import ann
    from recbole_ssr.serve.export import export as write

    run, flags = _run_and_flags("export", argv, _EXPORT)
    out = expanded(_text(flags, "out", "name a folder with --out=FOLDER"))
    kinds = ann.kinds_of(_text(flags, "index")) if "index" in flags else []
    recommender = _loaded(run, flags)
    files = write(recommender, out, str(flags.get("format", "npy")))
    user, item = recommender.embeddings()
    for kind in kinds:
        found = ann.write_index(out, kind, user[1:].cpu().numpy(), item[1:].cpu().numpy())
        console.print(f"{kind} index: recall {found.recall:.4f} of the exactly best {found.k} "
                      f"items, mean over {found.users:,} users")
        files.append(out / f"items.{kind}.faiss")
    console.print(f"Files: {out} ({', '.join(file.name for file in files)})", soft_wrap=True,
                  markup=False)
    return 0


def explain(argv: Sequence[str], console: Console) -> int:
    """explain RUN --user=U --item=I [--plot] [--out=FOLDER]"""
    from recbole_ssr.report.explanation import label
    from recbole_ssr.report.explanation_tables import tables

    run, flags = _run_and_flags("explain", argv, _EXPLAIN)
    user = _text(flags, "user", "name a user with --user=TOKEN")
    item = _text(flags, "item", "name an item with --item=TOKEN")
    found = _loaded(run, flags).explain(user, item)
    seen = ", which the user has already" if found.seen else ""
    console.print(f"{label(found.item, found.title)} for user {user}{seen}: rank {found.rank:,} "
                  f"of {found.ranked:,}, score {found.score:.4f}\n", soft_wrap=True, markup=False)
    for table in tables(found):
        console.print(table)
        console.print()
    if _switch(flags, "plot") or "out" in flags:
        folder = expanded(_text(flags, "out") if "out" in flags else found.run)
        name = f"explanation-{_as_file(user)}-{_as_file(item)}"
        found.write(folder / f"{name}.json")
        from recbole_ssr.report.explanation_plots import draw  # matplotlib is slow to import

        draw(found, folder / f"{name}.png")
        console.print(f"Files: {folder} ({name}.json, {name}.png)", soft_wrap=True, markup=False)
    return 0


def browse(argv: Sequence[str], console: Console) -> int:
    """browse RUN [--port=8765]"""
    from recbole_ssr.serve.browse import Browser
    from recbole_ssr.serve.server import BrowseServer

    run, flags = _run_and_flags("browse", argv, _BROWSE)
    port = _text(flags, "port") if "port" in flags else str(_PORT)
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise UserError(f"--port is {port!r}; give a number from 0, for any that is free, to "
                        f"{_LAST_PORT}")
    with BrowseServer(Browser(_loaded(run, flags)), int(port)) as server:
        console.print(f"Open {server.url} in a browser on this machine; Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def _run_and_flags(command: str, argv: Sequence[str], known: Sequence[str]):
    if not argv or argv[0].startswith("-"):
        raise UserError(f"{command} needs a run folder as its first word: recbole-ssr {command} "
                        "runs/<run>")
    return argv[0], typed_flags(argv[1:], known)


def _loaded(run: str, flags: dict):
    from recbole_ssr.serve.recommender import load

    new_items = _text(flags, "new_items") if "new_items" in flags else None
    with log_to_terminal() if new_items else nullcontext():
        return load(run, str(flags.get("device", "auto")), new_items)


def _text(flags: dict, key: str, missing: str = "") -> str:
    """Return the text of a flag. Raises UserError where it has none."""
    value = flags.get(key, True)
    if value is True:
        raise UserError(missing if missing and key not in flags else
                        f"--{key} needs a value: --{key}=...")
    return value


def _switch(flags: dict, key: str) -> bool:
    """Return whether a flag without a value is given; --flag=False takes it back."""
    value = flags.get(key, False)
    if value is not True and value is not False:
        value = value_of(key, value)
    if not isinstance(value, bool):
        raise UserError(f"--{key} takes no value, or True or False")
    return value


def _whole_number(flags: dict, key: str, default: int) -> int:
    if key not in flags:
        return default
    text = _text(flags, key)
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--{key} is {text!r}; give a whole number of at least 1")
    return int(text)


def _where(flags: dict) -> dict | None:
    if "where" not in flags:
        return None
    value = value_of("where", _text(flags, "where"))
    if not isinstance(value, dict):
        raise UserError(f"--where is {value!r}; name fields and values of items, for instance "
                        '--where="{class: Comedy}"')
    return value


def _as_file(token: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in token)
