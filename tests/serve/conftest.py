"""Runs on `tiny`, trained once for all tests of what a trained model is good for."""

import pytest
from tiny import ITEMS, SETTINGS, write_tiny

import recbole_ssr

COLOURS = ("red", "blue")


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """Return a function that trains a model on `tiny`, whose items have titles, in 2 epochs."""
    root = tmp_path_factory.mktemp("serve")
    settings = SETTINGS | write_tiny(root / "data") | {"epochs": 2, "run_dir": str(root / "runs")}
    lines = ["item_id:token\tname:token_seq\tcolour:token"]
    lines += [f"i{i}\tThing {i}\t{COLOURS[i % 2]}" for i in range(ITEMS - 1)]  # one is unknown
    (root / "data/tiny/tiny.item").write_text("\n".join(lines) + "\n")
    result = {}

    def run(model="SSR", **changes):
        key = repr((model, changes))
        if key not in result:
            result[key] = recbole_ssr.run(model=model, dataset="tiny",
                                         config_dict=settings | changes).run
        return result[key]

    return run


@pytest.fixture(scope="session")
def recommender(train):
    """Return a function that loads the run of a model, once."""
    result = {}

    def load(model="SSR"):
        if model not in result:
            result[model] = recbole_ssr.load(train(model), "cpu")
        return result[model]

    return load
