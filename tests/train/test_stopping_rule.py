"""The two rules of stopping, against a literal loop and in whole runs."""

import logging
import random
from pathlib import Path

import pytest
from recbole.utils import early_stopping
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.train import checkpoint
from recbole_ssr.train.stopping import RULES, rule_of, strict_stopping
from recbole_ssr.train.trainer import RunMixin


def literal(values, patience, strict):
    """Return the best epoch and the last one, as baselines' descriptions have them."""
    best, kept, bad = -float("inf"), -1, 0
    for epoch, value in enumerate(values):
        if value > best or (value == best and not strict):
            best, kept, bad = value, epoch, 0
        else:
            bad += 1
            if bad > patience:
                return kept, epoch
    return kept, len(values) - 1


@pytest.mark.parametrize("name", RULES)
def test_both_rules_against_a_literal_loop(name):
    draw = random.Random(4)
    for _ in range(300):
        patience = draw.randrange(4)
        values = [round(draw.random(), 1) for _ in range(draw.randrange(1, 25))]
        for sign, bigger in ((1, True), (-1, False)):
            best, step, kept = -sign * float("inf"), 0, -1
            for epoch, value in enumerate(values):
                best, step, stop, improved = RULES[name](sign * value, best, step, patience, bigger)
                kept = epoch if improved else kept
                if stop:
                    break
            assert (kept, epoch) == literal(values, patience, name == "strict")


def test_a_tie_keeps_the_earlier_epoch_and_counts():
    assert strict_stopping(0.5, 0.5, 0, 0) == (0.5, 1, True, False)
    assert early_stopping(0.5, 0.5, 0, 0) == (0.5, 0, False, True)


def test_names():
    assert rule_of(None) is rule_of("recbole") is early_stopping
    with pytest.raises(UserError, match="Did you mean 'strict'"):
        rule_of("strickt")


SCORES = [0.1, 0.3, 0.3, 0.2, 0.3, 0.3, 0.3, 0.1, 0.1]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A run whose validation gives SCORES, whatever the model."""
    settings = SETTINGS | write_tiny(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    original = RunMixin.evaluate

    def scripted(self, data, load_best_model=True, **rest):
        result = original(self, data, load_best_model, **rest)
        if not load_best_model and len(self.history) < len(SCORES):
            result[self.valid_metric] = SCORES[len(self.history)]
        return result

    monkeypatch.setattr(RunMixin, "evaluate", scripted)
    return settings | {"epochs": 9, "stopping_step": 2}


def train(settings, **changes):
    return recbole_ssr.run("FastLightGCN", "tiny", config_dict=settings | changes)


@pytest.mark.parametrize("rule, best, epochs", [("recbole", 6, 9), ("strict", 1, 5)])
def test_runs_stop_and_keep_what_the_rule_says(tiny, rule, best, epochs):
    result = train(tiny, stopping_rule=rule)
    assert (result.best_epoch, result.epochs) == (best, epochs)
    assert checkpoint.load(Path(result.run) / "best.pth")["epoch"] == best
    assert result.protocol["stopping_rule"] == rule


def test_a_run_resumes_under_its_rule(tiny):
    whole = train(tiny, stopping_rule="strict")
    short = train(tiny, stopping_rule="strict", epochs=3)
    resumed = recbole_ssr.run(flags={"resume": short.run, "epochs": 9})
    assert (resumed.best_epoch, resumed.epochs) == (whole.best_epoch, whole.epochs) == (1, 5)


def test_a_parity_mode_says_so_in_one_line(tiny, caplog):
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        train(tiny, epochs=1)
        assert not [m for m in caplog.messages if "parity" in m]
        train(tiny, epochs=1, stopping_rule="strict", test_masking="train")
    (line,) = [m for m in caplog.messages if "parity" in m]
    assert "test_masking=train" in line and "stopping_rule=strict" in line


def test_the_file_of_mmrecs_protocol_is_a_config_file():
    file = registry.properties_folder() / "protocol" / "mmrec.yaml"
    config = build_config("LightGCN", config_files=[file])
    assert (config["test_masking"], config["stopping_rule"]) == ("train", "strict")
    assert (config["metric_decimal_place"], config["stopping_step"]) == (4, 20)
    assert config["train_neg_sample_args"]["sample_num"] == 1
