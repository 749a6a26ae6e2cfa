"""The command lines that use a finished run: recommend, export, explain, browse."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from recbole_ssr.commands.words import run_and_flags, switch, text, whole_number
from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded
from recbole_ssr.flags import value_of
from recbole_ssr.runs import log_to_terminal

if TYPE_CHECKING:
    from rich.console import Console

_USERS_SHOWN = 10  # on the terminal; a file takes all
_TOPK, _PORT, _LAST_PORT = 20, 8765, 65535


def recommend(argv: Sequence[str], console: Console) -> int:
    """recommend RUN --users=u1,u2 | --users=FILE | --all | --history=FILE [--topk=20] ..."""
    from recbole_ssr.serve.writers import check_format, write_blocks

    run, flags = run_and_flags("recommend", argv)
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
    from recbole_ssr.dataset_prep.histories import read_histories, tokens_from

    users = tokens_from(text(flags, "users")) if "users" in flags else None
    history = read_histories(text(flags, "history")) if "history" in flags else None
    if switch(flags, "all") != (users is None and history is None):
        raise UserError("say whom to recommend to, once: --users=u1,u2, --users=FILE, "
                        "--history=FILE or --all")
    return {
        "users": users, "history": history, "k": whole_number(flags, "topk", _TOPK),
        "keep_seen": switch(flags, "keep_seen"), "hide_test": switch(flags, "hide_test"),
        "where": _where(flags),
        "candidates": tokens_from(text(flags, "candidates")) if "candidates" in flags else None,
        "unknown": str(flags.get("unknown", "error")),
    }


def _show(recommender, table, console: Console) -> None:
    from recbole_ssr.report.recommendation import recommendation_table
    from recbole_ssr.report.terminal import rendered

    if table.empty:  # which a warning has told of
        return
    users = list(dict.fromkeys(table["user"]))
    table = table[table["user"].isin(users[:_USERS_SHOWN])]
    catalogue = recommender.catalogue
    config = recommender.experiment.config
    titles = catalogue.table.titles(catalogue.item_ids(table["item"]))
    console.print(rendered(recommendation_table(
        table, titles, f"{config['model']} on {config['dataset']}")))
    if len(users) > _USERS_SHOWN:
        console.print(f"The first {_USERS_SHOWN} users; a file takes all: --out=FILE.csv")


def export(argv: Sequence[str], console: Console) -> int:
    """export RUN --out=FOLDER [--format=npy|parquet] [--index=flat,hnsw]"""
    from recbole_ssr.serve import ann
    from recbole_ssr.serve.export import export as write

    run, flags = run_and_flags("export", argv)
    out = expanded(text(flags, "out", "name a folder with --out=FOLDER"))
    kinds = ann.kinds_of(text(flags, "index")) if "index" in flags else []
    recommender = _loaded(run, flags)
    files = write(recommender, out, str(flags.get("format", "npy")), kinds)
    user, item = recommender.embeddings()
    for kind in kinds:
        index = ann.write_index(out, kind, user[1:].cpu().numpy(), item[1:].cpu().numpy())
        console.print(f"{kind} index: recall {index.recall:.4f} of the exactly best {index.k} "
                      f"items, mean over {index.users:,} users")
        files.append(out / ann.name_of(kind))
    console.print(f"Files: {out} ({', '.join(file.name for file in files)})", soft_wrap=True,
                  markup=False)
    return 0


def explain(argv: Sequence[str], console: Console) -> int:
    """explain RUN --user=U --item=I [--plot] [--out=FOLDER]"""
    from recbole_ssr.report.explanation.record import label
    from recbole_ssr.report.explanation.tables import tables
    from recbole_ssr.report.record import write_record
    from recbole_ssr.report.terminal import print_sheets

    run, flags = run_and_flags("explain", argv)
    user = text(flags, "user", "name a user with --user=TOKEN")
    item = text(flags, "item", "name an item with --item=TOKEN")
    why = _loaded(run, flags).explain(user, item)
    seen = ", which the user has already" if why.seen else ""
    console.print(f"{label(why.item, why.title)} for user {user}{seen}: rank {why.rank:,} "
                  f"of {why.ranked:,}, score {why.score:.4f}\n", soft_wrap=True, markup=False)
    print_sheets(console, tables(why))
    if switch(flags, "plot") or "out" in flags:
        folder = expanded(text(flags, "out") if "out" in flags else why.run)
        name = f"explanation-{_as_file(user)}-{_as_file(item)}"
        write_record(asdict(why), folder / f"{name}.json", indent=2)
        from recbole_ssr.report.explanation.plots import draw  # matplotlib is slow to import

        draw(why, folder / f"{name}.png")
        console.print(f"Files: {folder} ({name}.json, {name}.png)", soft_wrap=True, markup=False)
    return 0


def browse(argv: Sequence[str], console: Console) -> int:
    """browse RUN [--port=8765]"""
    from recbole_ssr.serve.browse import Browser
    from recbole_ssr.serve.server import BrowseServer

    run, flags = run_and_flags("browse", argv)
    port = text(flags, "port") if "port" in flags else str(_PORT)
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise UserError(f"--port is {port!r}; give a number from 0, for any that is free, to "
                        f"{_LAST_PORT}")
    with BrowseServer(Browser(_loaded(run, flags)), int(port)) as server:
        console.print(f"Open {server.url} in a browser on this machine; Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def _loaded(run: str, flags: dict):
    from recbole_ssr.serve.recommender import load

    places = {key: text(flags, key) for key in ("new_items", "data_path") if key in flags}
    key = "popularity_discount"
    changed = {key: value_of(key, text(flags, key))} if key in flags else {}
    with log_to_terminal() if "new_items" in places else nullcontext():
        return load(run, str(flags.get("device", "auto")), **places, **changed)


def _where(flags: dict) -> dict | None:
    if "where" not in flags:
        return None
    value = value_of("where", text(flags, "where"), as_typed=True)
    if not isinstance(value, dict):
        raise UserError(f"--where is {value!r}; name fields and values of items, for instance "
                        '--where="{class: Comedy}"')
    return value


def _as_file(token: str) -> str:
    """Return a token as part of a file's name, between dashes: another one for every token."""
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in token)
    if name == token and "-" not in token:
        return token
    return f"{name}-{hashlib.sha256(token.encode()).hexdigest()[:8]}"
