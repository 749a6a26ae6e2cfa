"""Run folders: creation, logging, machine facts."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import sys
import time
import warnings
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import recbole
import torch
from tqdm import tqdm

from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded, in_one_step
from recbole_ssr.run_folders import CONFIG, LOG, named_in
from recbole_ssr.version import __version__

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_HOST = Path(recbole.__file__).parent


def create(run_dir: str | Path, dataset: str, model: str) -> Path:
    """Make `<run_dir>/<dataset>-<model>-<id>/`, the id being the time, unique in the folder."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(1, 1000):
        suffix = "" if attempt == 1 else f"-{attempt}"
        folder = expanded(run_dir) / f"{dataset}-{model}-{stamp}{suffix}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileExistsError:
            if not folder.parent.is_dir():
                raise UserError(
                    f"run_dir {folder.parent} is a file; name a folder with --run_dir"
                ) from None
        except OSError as error:
            raise UserError(
                f"cannot create the run folder {folder}: {error.strerror}. Free space there, or "
                "name a folder that you may write with --run_dir=<folder>"
            ) from None
    raise UserError(f"{run_dir} holds 999 runs of this second; name another with --run_dir")


def make(folder: Path) -> None:
    """Make a folder where it is missing, with a clear error where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the run folder {folder}: {error.strerror}") from None


def existing(folder: str | Path) -> Path:
    """Return a run folder that holds settings, or raise UserError naming some in or beside it."""
    if not isinstance(folder, (str, Path)):
        raise UserError(f"{folder!r} names no run folder. Write it behind the flag, as in "
                        "--resume=runs/<your run>.")
    folder = expanded(folder)
    if os.path.isfile(folder / CONFIG):  # Path raises where a name is too long
        return folder
    raise UserError(f"{folder} is not a run folder (it has no {CONFIG})."
                    f"{named_in(folder, '') or named_in(folder.parent, folder.name)}")


def write_text(path: Path, text: str) -> None:
    """Write a file of a run folder in one step; a clear error for a full or read-only disk."""
    with in_one_step(path) as draft:
        draft.write_text(text)


class _TerminalHandler(logging.Handler):
    """Messages for the person at the keyboard, above any progress bar."""

    def emit(self, record):
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        tqdm.write(level + _ANSI.sub("", record.getMessage()), file=sys.stderr)


class _HostHandler(_TerminalHandler):
    """RecBole's warnings, each once; it logs to the root logger."""

    def __init__(self):
        super().__init__(level=logging.WARNING)
        self._seen: set[str] = set()

    def filter(self, record):
        message = record.getMessage()
        new = Path(record.pathname).is_relative_to(_HOST) and message not in self._seen
        self._seen.add(message)
        return new and super().filter(record)


class _PlainFormatter(logging.Formatter):
    def format(self, record):
        return _ANSI.sub("", super().format(record))


@contextmanager
def log_into(folder: Path, discard_unless_started: bool):
    """Send all log records to `<folder>/run.log` and the plugin's to the terminal.

    Yields a function to call once training is about to begin. A run that fails before that leaves
    no folder behind when `discard_unless_started`.
    """
    root, plugin = logging.getLogger(), logging.getLogger("recbole_ssr")
    try:
        file = logging.FileHandler(folder / LOG)
    except OSError as error:
        raise UserError(f"cannot write {folder / LOG}: {error.strerror}") from None
    file.setFormatter(_PlainFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    terminal, host = _TerminalHandler(level=logging.INFO), _HostHandler()
    levels = root.level, plugin.level
    root.addHandler(file)
    root.addHandler(host)
    plugin.addHandler(terminal)
    root.setLevel(min(logging.INFO, root.level or logging.INFO))
    plugin.setLevel(logging.DEBUG)
    state = {"started": False}
    try:
        with quiet_host():
            yield lambda: state.update(started=True)
    finally:
        root.removeHandler(file)
        root.removeHandler(host)
        plugin.removeHandler(terminal)
        file.close()
        root.setLevel(levels[0])
        plugin.setLevel(levels[1])
        if discard_unless_started and not state["started"]:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def log_nowhere():
    """Keep a process silent that is one of several of a run; yields as :func:`log_into` does."""
    root, nobody = logging.getLogger(), logging.NullHandler()
    root.addHandler(nobody)
    try:
        with quiet_host():
            yield lambda: None
    finally:
        root.removeHandler(nobody)


@contextmanager
def log_to_terminal():
    """Send the plugin's messages to the terminal, for work that leaves no run folder."""
    root, plugin = logging.getLogger(), logging.getLogger("recbole_ssr")
    terminal, host = _TerminalHandler(level=logging.INFO), _HostHandler()
    level = plugin.level
    plugin.addHandler(terminal)
    root.addHandler(host)
    plugin.setLevel(logging.INFO)
    try:
        yield
    finally:
        plugin.removeHandler(terminal)
        root.removeHandler(host)
        plugin.setLevel(level)


@contextmanager
def quiet_host():
    """Hide RecBole's own use of deprecated pandas and torch calls: nothing a user can act on."""
    with warnings.catch_warnings():
        for category in (FutureWarning, UserWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category, module=r"recbole\.")
        yield


def peak_mib(device: torch.device) -> float | None:
    """Peak memory in MiB: the GPU allocator's, or the process's resident set; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    known = {"python": platform.python_version(), "recbole_ssr": __version__}
    for package in ("recbole", "torch", "numpy", "scipy", "pandas"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "not installed"
    known["torch"] = str(torch.__version__)  # with its build: 2.13.0+cpu
    return known
