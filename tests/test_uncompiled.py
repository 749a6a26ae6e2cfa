"""Optimizers without torch's compiler step as with it, and runs import nothing slow for them."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from tiny import SETTINGS, write_tiny

from recbole_ssr import uncompiled
from recbole_ssr.uncompiled import without_compiler

# Not needed by a run of SSR with rankings as its metrics, and slow to import.
SLOW = ("torch._dynamo", "torch._inductor", "sklearn", "scipy.stats", "ray")
# Needed by no command before it writes or draws.
LATE = ("matplotlib", "sympy", "torch.utils.tensorboard", *SLOW)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "Adagrad", "RMSprop", "LBFGS"])
def test_steps_and_state_are_those_of_torch(monkeypatch, kind):
    monkeypatch.setattr(uncompiled, "_COMPILER", "no compiler is imported")

    def trained(wrap):
        weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3) / 7)
        optimizer = wrap(lambda: getattr(torch.optim, kind)([weight], lr=0.1))
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

        def loss():
            optimizer.zero_grad()
            value = (weight - 1).square().sum() + weight.prod()
            value.backward()
            return value

        for _ in range(4):
            loss()
            optimizer.step(loss)
            optimizer.load_state_dict(optimizer.state_dict())
            scheduler.step()
        return weight.detach(), optimizer

    (ours, mine), (theirs, plain) = trained(without_compiler), trained(lambda build: build())
    assert torch.equal(ours, theirs) and not torch.equal(ours, torch.arange(6.0).reshape(2, 3) / 7)
    assert "zero_grad" in vars(mine) and "zero_grad" not in vars(plain)
    found, expected = mine.state_dict(), plain.state_dict()
    assert str(found) == str(expected)
    assert not hasattr(torch.optim.Optimizer.add_param_group.__wrapped__, "__dynamo_disable") or \
        "torch._dynamo" in sys.modules


def test_where_the_compiler_is_and_for_other_optimizers_nothing_changes(monkeypatch):
    class Own(torch.optim.SGD):
        pass

    weight = torch.nn.Parameter(torch.ones(2))
    monkeypatch.setattr(uncompiled, "_COMPILER", "json")  # which is imported
    assert "step" not in vars(without_compiler(lambda: torch.optim.Adam([weight])))
    monkeypatch.setattr(uncompiled, "_COMPILER", "no compiler is imported")
    assert "step" not in vars(without_compiler(lambda: Own([weight], lr=1)))


SCRIPT = """
import json, sys
import recbole_ssr
from recbole_ssr.cli import main
late = [name for name in json.loads(sys.argv[1]) if name in sys.modules]
slow, sys.argv[1:] = json.loads(sys.argv[2]), sys.argv[3:]
code = main()
print(json.dumps([late, code, [name for name in slow if name in sys.modules]]))
"""


def test_a_run_imports_nothing_slow_that_it_does_not_need(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(
        SETTINGS | write_tiny(tmp_path / "data") | {"dataset": "tiny", "epochs": 1}))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(LATE), json.dumps(SLOW),
         "--model=SSR", "--config_files", "tiny.yaml"],
        cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[], 0, []]
