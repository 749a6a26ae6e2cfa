"""The scripts in benchmarks/ as modules for tests; none of them stays importable."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def scripts_of(*names):
    """Return a fixture of these scripts by name; name what a script imports before it."""

    @pytest.fixture(scope="module")
    def scripts():
        patch = pytest.MonkeyPatch()
        patch.syspath_prepend(str(BENCHMARKS))
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield {name: importlib.import_module(name) for name in names}
        for name in names:
            sys.modules.pop(name, None)
        patch.undo()

    return scripts
