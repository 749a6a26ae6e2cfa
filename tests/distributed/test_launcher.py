"""Which error of which process a run that failed tells."""

import json
from types import SimpleNamespace

import pytest

from recbole_ssr.distributed.group import LostProcess
from recbole_ssr.distributed.launcher import Ended, _cause, _threads
from recbole_ssr.distributed.order import BUG, LOST, MISTAKE
from recbole_ssr.errors import UserError


@pytest.mark.parametrize("codes, reports, kind, told", [
    # The one that was killed, and not the one that lost it.
    ((1, -9), {0: (LOST, "lost")}, Ended, "process 1 of 2 was ended by SIGKILL.*too much memory"),
    ((-11, 1), {1: (LOST, "lost")}, Ended, "process 0 of 2 was ended by SIGSEGV, and the others"),
    # The reason, and not who was ended for it.
    ((1, 1), {0: (LOST, "lost"), 1: (MISTAKE, "disk full")}, UserError, "^disk full$"),
    ((1, 1), {0: (MISTAKE, "NaN"), 1: (BUG, "Traceback")}, RuntimeError,
     "(?s)process 1 .*Traceback"),
    ((1, 1), {0: (LOST, "lost 0"), 1: (LOST, "lost 1")}, LostProcess, "^lost 0$"),
    ((3, 0), {}, Ended, "process 0 of 2 ended with exit status 3"),
])
def test_the_first_cause_is_told(tmp_path, codes, reports, kind, told):
    processes = [SimpleNamespace(returncode=code, pid=pid) for pid, code in enumerate(codes)]
    for rank, report in reports.items():
        (tmp_path / f"{rank}.error").write_text(json.dumps(report))
    with pytest.raises(kind, match=told):
        raise _cause(tmp_path, processes, killed=set())


def test_processes_that_the_launcher_ended_are_no_cause(tmp_path):
    processes = [SimpleNamespace(returncode=-15, pid=0), SimpleNamespace(returncode=-9, pid=1)]
    assert "process 1 of 2" in str(_cause(tmp_path, processes, killed={0}))


@pytest.mark.parametrize("asked, threads", [("", 3), ("5", 5), ("0", 3)])
def test_processes_share_the_cores_unless_told(monkeypatch, asked, threads):
    monkeypatch.setattr("recbole_ssr.distributed.launcher.usable_cores", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert _threads(2) == threads
