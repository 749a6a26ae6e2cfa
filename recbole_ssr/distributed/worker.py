"""A process of a run that :mod:`recbole_ssr.distributed.launcher` has started.

It reads what to do from its standard input, and ends with it: the launcher keeps its end open for
as long as it lives. An error is left for the launcher to tell.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import threading
import traceback

from recbole_ssr.distributed.group import joined
from recbole_ssr.distributed.order import Order
from recbole_ssr.errors import UserError

DONE, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Do what the launcher says; return the exit status."""
    order: Order = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_launcher, name="launcher watch", daemon=True).start()
    try:
        module, _, name = order.target.partition(":")
        with joined(order.place, order.rendezvous):
            getattr(importlib.import_module(module), name)(**order.arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        expected = isinstance(error, UserError)
        order.report.write_bytes(pickle.dumps(error if expected else traceback.format_exc()))
        return FAILED
    return DONE


def _end_with_launcher() -> None:
    """End at once: checkpoints are written in one step, so that one is left to go on from."""
    while os.read(sys.stdin.fileno(), 1):  # not by the buffer, whose lock would outlive this
        pass
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main())
