import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Test processes share the cores, and threads of theirs would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))

# The same cases in every run: a failure is of the change that meets it.
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    """Hide GPUs from all but the tests of GPUs: runs are compared bit for bit, as CPUs promise."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real datasets beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no folder shared/data beside the checkout")
    return SHARED


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch):
    """RecBole's Config reads sys.argv whenever it is built, pytest's arguments included."""
    monkeypatch.setattr(sys, "argv", ["pytest"])


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory):
    """Keep the user's cache folder out of the tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RECBOLE_SSR_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def one_curve(tmp_path_factory):
    """Draw the learning curve of the first run only: drawing takes longer than most runs here."""
    from recbole_ssr.report import learning_curve  # after the threads are set, for torch

    draw, drawn = learning_curve.learning_curve, tmp_path_factory.mktemp("curve") / "curve.png"

    def curve(result, path):
        if not drawn.exists():
            draw(result, drawn)
        shutil.copyfile(drawn, path)

    patch = pytest.MonkeyPatch()
    patch.setattr(learning_curve, "learning_curve", curve)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def one_fork_server():
    """Keep the process that runs are forked from: its imports take longer than most of them."""
    from recbole_ssr.compare import forked, local

    servers = {}

    class Kept(forked.ForkServer):
        def close(self):
            if self._process is not None:
                self.look()
            if self.pids.keys() - self.codes.keys():  # what still runs ends with its server
                super().close()
                self._process = None
                self.pids.clear()
                self.codes.clear()

    def kept(environment):
        environment.pop("PYTEST_CURRENT_TEST", None)
        return servers.setdefault(frozenset(environment.items()), Kept(environment))

    patch = pytest.MonkeyPatch()
    patch.setattr(local, "ForkServer", kept)
    yield
    patch.undo()
    for server in servers.values():
        forked.ForkServer.close(server)
