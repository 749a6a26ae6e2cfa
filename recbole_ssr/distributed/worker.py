"""A process of a run that :mod:`recbole_ssr.distributed.launcher` has started.

It reads what to do from its standard input, and ends with it: the launcher keeps its end open for
as long as it lives. An error is left for the launcher to tell.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import threading
import traceback

from recbole_ssr.distributed.group import LostProcess, joined
from recbole_ssr.distributed.order import BUG, LOST, MISTAKE, Order
from recbole_ssr.errors import UserError

DONE, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Do what the launcher says; return the exit status."""
    try:
        order: Order = pickle.load(sys.stdin.buffer)
    except (EOFError, pickle.UnpicklingError):  # the launcher ended while it was saying so
        return INTERRUPTED
    order.begun.touch()
    threading.Thread(target=_end_with_launcher, name="launcher watch", daemon=True).start()
    try:
        module, _, name = order.target.partition(":")
        with joined(order.place, order.rendezvous):
            getattr(importlib.import_module(module), name)(**order.arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        kind = LOST if isinstance(error, LostProcess) else \
            MISTAKE if isinstance(error, UserError) else BUG
        text = traceback.format_exc() if kind == BUG else str(error)
        order.report.write_text(json.dumps([kind, text]))
        return FAILED
    return DONE


def _end_with_launcher() -> None:
    """End at once: checkpoints are written in one step, so that one is left to go on from."""
    while os.read(sys.stdin.fileno(), 1):  # not by the buffer, whose lock would outlive this
        pass
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main())
