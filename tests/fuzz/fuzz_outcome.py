"""What a case of the fuzz suite may end in: a finished run, or an error of the package in one line.

Everything else is a failure: another exception, a crash, a hang, or a result that the subject's own
check finds wrong.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import select
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from recbole_ssr.errors import UserError

# A machine that is shared may leave a case but a small part of a core.
_BUSY = 15
FINISHED, REFUSED, FAILED = "finished", "refused", "failed"


class Outcome(NamedTuple):
    """How a case ended; `place` is the file and line that tell failures of one kind apart."""

    kind: str
    reason: str = ""
    place: str = ""


class Wrong(AssertionError):
    """A run finished with something that cannot be right."""


class Hang(BaseException):
    """A case took longer than its limit; no handler of Exception may swallow it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in the main thread after `seconds` of computing, or many times that of waiting."""
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds),
              signal.SIGALRM: (signal.ITIMER_REAL, seconds * _BUSY)}

    def stop(number, _frame):
        raise Hang(f"not finished after {timers[number][1]:g} s")

    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def outcome_of(work: Callable[[], None], seconds: float) -> Outcome:
    """Do `work` in silence and say how it ended."""
    torch.manual_seed(0)
    torch.set_grad_enabled(True)  # a case that was stopped may have left it off
    silence = io.StringIO()
    try:
        with (contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence),
              warnings.catch_warnings(), limited(seconds)):
            warnings.simplefilter("ignore")
            work()
    except UserError as error:
        return Outcome(REFUSED, str(error))
    except (Exception, Hang, SystemExit) as error:
        return _failure(error, f"{type(error).__name__}: {error}")
    return Outcome(FINISHED)


def outcome_apart(work: Callable[[], None], seconds: float) -> Outcome:
    """Do `work` in a child of this process, which may crash, or hang where no signal reaches it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(tuple(outcome_of(work, seconds)), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], seconds * (_BUSY + 1))[0]:
            os.kill(child, signal.SIGKILL)
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code or not told:
        return Outcome(FAILED, "Hang: killed" if code == -signal.SIGKILL else
                       f"Crash: the process ended with {code}")
    return Outcome(*pickle.loads(told))


def _failure(error: BaseException, reason: str) -> Outcome:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "recbole_ssr" in frame.filename]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*own[-1:], frames[-1])]
    return Outcome(FAILED, " ".join(reason.split())[:400], " > ".join(dict.fromkeys(places)))
