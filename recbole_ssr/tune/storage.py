"""Where studies are kept: a journal file, which several machines may share, or a database."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from recbole_ssr.config import PluginConfig, config_hash
from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded
from recbole_ssr.own_code import hash_of
from recbole_ssr.tune.space import Space, key_of

T = TypeVar("T")

# What databases say of tables that another process has made between a look and an attempt.
_MADE_MEANWHILE = ("already exists", "UNIQUE constraint failed", "duplicate key")
_ATTEMPTS = 5
_DATABASE_FILES = (".db", ".sqlite", ".sqlite3")


def require_optuna():
    """Return the module optuna, quiet. Raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError("Tuning needs Optuna, which is not installed. Install it with: pip install "
                        "'recbole_ssr[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def study_name(space: Space, config: PluginConfig) -> str:
    """Return a name that another model, dataset, protocol, seed or space never has.

    Every setting that changes results is part of its hash, and so is the code of a model from
    elsewhere, so that trials never mix.
    """
    code = hash_of(config["model"])
    content = key_of({"run": config_hash(config), "space": space.plain(),
                      **({"code": code} if code else {})})
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return f"{config['model']}-{config['dataset']}-{digest}"


def open_storage(storage: str | None, out: str | Path, model: str, make: bool = True):
    """Return the Optuna storage of a model's studies.

    Args:
        storage: None for `<out>/tune/<Model>.journal`; the path of a journal, or of a folder of
            them; or the address of a database, as sqlite:///tune.db or postgresql://...
        make: False returns None where there is no journal.

    Raises UserError for a storage that cannot be reached or read.
    """
    optuna = require_optuna()
    if storage is not None and "://" in storage:
        return _database(optuna, storage)
    path = Path(out) / "tune" if storage is None else expanded(storage)
    if storage is None or path.is_dir() or storage.endswith(("/", os.sep)):
        path = path / f"{model}.journal"
    if path.suffix in _DATABASE_FILES:
        raise UserError(f"storage={storage!r} looks like a database. Write its address, "
                        f"sqlite:///{storage}, or name a journal, {path.stem}.journal.")
    return _journal(path) if make or path.exists() else None


def open_study(storage, name: str, larger_is_better: bool):
    """Return the study of a name, with what it holds already, and make it where it is new."""
    optuna = require_optuna()
    direction = "maximize" if larger_is_better else "minimize"
    return optuna.create_study(storage=storage, study_name=name, direction=direction,
                               load_if_exists=True, pruner=optuna.pruners.NopPruner())


def existing_study(storage, name: str):
    """Return the study of a name, None where there is none."""
    try:
        return require_optuna().load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def _journal(path: Path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    # Absolute, so that a later change of folder does not move it.
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileOpenLock(str(path))
        _drop_torn_line(path, lock)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except OSError as error:
        raise UserError(f"The journal {path} cannot be used: {error.strerror or error}. Name "
                        "another with --storage=<file>.") from None
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f"{path} is no journal of Optuna, or is damaged: {error!r}. Name another "
                        "with --storage=<file>, or move it away; finished trials are not trained "
                        "again, as their run folders stay.") from None


def _drop_torn_line(path: Path, lock) -> None:
    """Cut off a last line that a dying process left unfinished: nothing could be read after it.

    Raises ValueError for a file that is something else.
    """
    if not path.is_file():
        return
    lock.acquire()
    try:
        with open(path, "rb+") as file:
            content = file.read()
            lines = content.splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                file.truncate(len(content) - len(lines.pop()))
        for line in lines[:1] + lines[-1:]:
            if "op_code" not in json.loads(line):
                raise ValueError("its lines are something else")
    finally:
        lock.release()


def _database(optuna, address: str):
    shown = _without_password(address)
    sqlite = address.startswith("sqlite")
    if sqlite and (":memory:" in address or address.rstrip("/") == "sqlite:"):
        raise UserError(f"storage={shown!r} is gone when the process ends. Name a file, as in "
                        "sqlite:///tune.db.")
    # Without a limit of time a second process would fail at once where sqlite is being written to.
    options = {"connect_args": {"timeout": 60}} if sqlite else {}
    try:
        storage = _made_or_found(
            partial(optuna.storages.RDBStorage, address, engine_kwargs=options))
    except ImportError as error:
        raise UserError(f"storage={shown!r} needs a package that is not installed: {error}"
                        ) from None
    except Exception as error:  # whatever the driver of the database raises
        reason = str(error).splitlines()[0].replace(address, shown)
        raise UserError(f"storage={shown!r} cannot be used: {reason} Write an address such as "
                        "sqlite:///tune.db or postgresql://user@host/name.") from None
    if sqlite:
        _serialise(storage.engine)
    return storage


def _made_or_found(storage: Callable[[], T]) -> T:
    """Open a database, once more where another process has made its tables meanwhile."""
    for _ in range(_ATTEMPTS):
        try:
            return storage()
        except Exception as error:
            if not any(words in str(error) for words in _MADE_MEANWHILE):
                raise
            time.sleep(0.1)
    return storage()


def _serialise(engine) -> None:
    """Let every transaction take sqlite's write lock when it begins, not when it first writes.

    Optuna reads a trial's state and then sets it; it locks the row for that, which sqlite cannot,
    so that two processes would take the same trial from the queue.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection, _record):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections made before are without these


def _without_password(address: str) -> str:
    head, at, tail = address.rpartition("@")
    scheme, colon, rest = head.partition("://")
    user = rest.split(":")[0]
    return f"{scheme}{colon}{user}{at}{tail}" if at else address
