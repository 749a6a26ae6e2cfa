"""How idle threads wait: libgomp itself says what it was told when it is loaded."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from benchmark_scripts import scripts_of
from tiny import SETTINGS, write_tiny

from recbole_ssr.cores import SPINS

scripts = scripts_of("datasets", "step_time", "busy_machine")


def turns(**settings):
    """Return the turns that an idle thread waits for once recbole_ssr is imported."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    said = subprocess.run(
        [sys.executable, "-c", "import recbole_ssr"], capture_output=True, text=True, check=True,
        env=environment | {"OMP_DISPLAY_ENV": "verbose"} | settings).stderr
    found = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", said)
    if not found:
        pytest.skip("this torch has no libgomp")
    return set(map(int, found))


def test_idle_threads_leave_their_core_to_others_soon():
    assert turns() == {SPINS}


@pytest.mark.parametrize("settings, expected", [
    ({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "passive"}, 0)])
def test_a_choice_of_the_user_stays(settings, expected):
    assert turns(**settings) == {expected}


def test_an_epoch_is_measured_under_settings_of_its_own(scripts, tmp_path, monkeypatch):
    settings = SETTINGS | write_tiny(tmp_path) | {"dataset": "tiny", "model": "BPR", "epochs": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("GOMP_SPINCOUNT", "no number")  # not what the measured process is given
    seconds_of = scripts["busy_machine"].seconds_of
    files = ["--config_files", str(tmp_path / "tiny.yaml")]
    assert seconds_of(files, {"OMP_NUM_THREADS": "1"}) > 0
    with pytest.raises(SystemExit, match="Did you mean 'epochs'"):
        seconds_of(["--epoch=1"], {})
