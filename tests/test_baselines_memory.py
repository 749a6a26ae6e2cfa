"""The benchmark of memory, at a size that takes seconds."""

import re
from argparse import Namespace

import pytest
from benchmark_scripts import scripts_of

from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare

scripts = scripts_of("datasets", "step_time", "made_data", "baselines_memory")
SMALL = ["--users=60", "--items=80", "--interactions=400", "--width=6", "--batch_size=64"]


@pytest.mark.slow
def test_a_model_has_a_row_with_its_peak(scripts, capsys):
    assert scripts["baselines_memory"].main(["--models", "gfcf", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "60 users, 80 items x 6, about 400 interactions; 3 steps of 64" in out
    rows = dict(re.findall(r"(?m)^(data alone|GFCF) +\| +(.*)$", out))
    for name in ("data alone", "GFCF"):
        assert 50 < float(rows[name].split("|")[0].replace(",", "")) < 5000, rows
    assert rows["GFCF"].count("|") == 2


def test_a_model_that_refuses_the_size_says_why(scripts, tmp_path):
    script = scripts["baselines_memory"]
    settings = {**script.make(tmp_path, 60, 80, 400, 6), "max_items": 50}
    arguments = Namespace(batch_size=64, steps=1, block=9, timeout=100.0, cache=None)
    found = script.measured("FeatureEASE", settings, arguments)
    assert re.match(r"refused: EASE inverts .* max_items is 50", found["error"])


def test_a_process_that_takes_too_long_is_ended_and_said_so(scripts, capsys):
    scripts["baselines_memory"].main(["--models", "GFCF", *SMALL, "--timeout=0.01"])
    assert "GFCF             | not done after 0 s" in capsys.readouterr().out


def test_an_unknown_model_is_refused_before_any_work(scripts):
    with pytest.raises(UserError, match="Did you mean 'GFCF'"):
        scripts["baselines_memory"].main(["--models", "GFCFF"])


def test_every_model_with_features_is_measured_by_default(scripts):
    models = scripts["baselines_memory"].models_with_features()
    assert {"SSR", "FREEDOM", "FeatureEASE", "GFCF"} <= set(models)
    assert not {"FastLightGCN", "LightGCN"} & set(models)


def test_every_user_and_item_occurs_and_the_data_are_the_same_each_time(scripts, tmp_path):
    make = scripts["baselines_memory"].make
    settings, again = (make(tmp_path / name, 60, 80, 400, 6) for name in "ab")
    a, b = ((tmp_path / name / "made/made.inter").read_text() for name in "ab")
    assert a == b and settings != again
    dataset = prepare(build_config("GFCF", "made", config_dict=settings)).dataset
    assert (dataset.user_num, dataset.item_num) == (61, 81)
    assert 380 <= dataset.inter_num <= 400
