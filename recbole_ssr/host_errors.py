"""An error out of RecBole's own code as one line of this package."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import recbole
import torch

from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

_HOST, _OWN = (Path(file).resolve().parent for file in (recbole.__file__, __file__))
_LONGEST = 300  # characters of an error that a message repeats


@contextmanager
def host_errors(doing: str) -> Iterator[None]:
    """Turn what RecBole raises into a UserError that says what it was `doing`, and where it fell.

    Errors of this package and of memory pass, and so do those of other packages that RecBole did
    not call. The whole traceback goes to the log.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f"RecBole cannot {doing}: the package {error.name} is not installed. "
                        f"Install it (pip install {error.name}), or choose another model."
                        ) from error
    except Exception as error:
        place = _place(error)
        if isinstance(error, UserError) or place is None or _of_memory(error):
            raise
        logger.debug("RecBole's error in full", exc_info=True)
        raise UserError(f"RecBole cannot {doing}: {_text(error)} ({place})") from error


@contextmanager
def missing_columns(config) -> Iterator[None]:
    """Say what a batch lacks that a loss reads: negatives that nobody sampled, or labels."""
    try:
        yield
    except KeyError as error:
        name, model = error.args[0] if error.args else None, config["model"]
        if name == f"{config['NEG_PREFIX']}{config['ITEM_ID_FIELD']}":
            raise UserError(f"train_neg_sample_args is null, but {model} compares every item with "
                            "a negative: leave train_neg_sample_args out.") from error
        if name == config["LABEL_FIELD"]:
            raise UserError(f"{model} needs labels ({name}): make them of a loaded column, as in "
                            "threshold: {rating: 3}, or sample negatives with "
                            "train_neg_sample_args.") from error
        raise


def _place(error: Exception) -> str | None:
    """Return file and line in RecBole's code; None where this package's raised, or neither."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if _OWN in path.parents:
            return None
        if _HOST in path.parents:
            return f"recbole/{path.relative_to(_HOST)}, line {frame.lineno}"
    return None


def _of_memory(error: Exception) -> bool:
    out = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, out) or "memory" in str(error).lower()


def _text(error: Exception) -> str:
    """Return an error's own words in one line, behind its type where they are none of a person."""
    text = " ".join(str(error).split())[:_LONGEST].rstrip(".")
    spoken = isinstance(error, (ValueError, NotImplementedError)) and " " in text
    return text if spoken else f"{type(error).__name__}: {text or 'without a word'}"
