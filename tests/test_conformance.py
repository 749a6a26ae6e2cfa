"""What RecBole offers: each entry of its own lists is honoured as it is there, or refused."""

import json
from pathlib import Path

import pytest
import recbole
from recbole.evaluator.register import metric_types, smaller_metrics

import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.conformance import lists
from recbole_ssr.conformance.check import HONOURED, REFUSED, check
from recbole_ssr.conformance.data import write_sixty
from recbole_ssr.conformance.items import BATCHES, TRAINING, Item, items, model_items
from recbole_ssr.result import larger_is_better

DOCUMENT = Path(recbole_ssr.__file__).resolve().parents[1] / "benchmarks" / "conformance.md"
# A training loop of its own, a package that is not there, an error of RecBole's on this torch.
REFUSED_MODELS = {"NCL": "training loop", "RaCT": "training loop", "S3Rec": "training loop",
                  "KGAT": "dgl", "KGIN": "torch_scatter", "MCCLK": "torch_scatter",
                  "KSR": "same dtype", "LightGBM": "lightgbm", "XGBoost": "lightgbm"}
# What Python 3.12 and newer do without: the document is that of 1.2.1.
LACKING = {"1.2.0": {"TS", "TS in random order", "AsymKNN", "GRU4RecCPR", "SASRecCPR"},
           "1.2.1": set()}[recbole.__version__]
REFUSED_ITEMS = {"sparse_adam": "one of adam",
                 "load_col of a column that no file has": "Did you mean 'rating'",
                 "val_interval of a column that is not loaded": "not loaded"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_sixty(folder)
    return folder


def different_settings():
    """Of items that are tried in the same way, as most metrics are, one."""
    result = {json.dumps([i.model, i.compared, i.settings], sort_keys=True): i for i in items()}
    return list(result.values())


def agreed(item, root, refused):
    outcome = check(item, root)
    assert outcome.verdict == (REFUSED if item.name in refused else HONOURED), outcome.words
    assert refused.get(item.name, "") in outcome.words and "\n" not in outcome.words


@pytest.mark.parametrize("item", different_settings(), ids=lambda item: f"{item.kind}: {item.name}")
def test_it_is_as_in_recbole_or_refused(item, root):
    agreed(item, root, REFUSED_ITEMS)


@pytest.mark.parametrize("model", ["CKE", "MKR"])
def test_models_with_a_knowledge_graph_train_as_in_recbole(model, root):
    item = next(item for item in model_items() if item.name == model)
    agreed(item._replace(compared=TRAINING), root, {})


@pytest.mark.slow
@pytest.mark.parametrize("item", model_items(), ids=lambda item: item.name)
def test_every_model_trains_and_is_measured_as_in_recbole(item, root):
    agreed(item, root, REFUSED_MODELS)


def test_a_difference_is_told(root, monkeypatch):
    monkeypatch.setattr("recbole_ssr.conformance.check._SEED", property(lambda _: 1))
    from recbole_ssr.conformance import check as module

    draws = iter(range(100))
    monkeypatch.setattr(module, "init_seed", lambda *_: module.np.random.seed(next(draws)))
    outcome = check(Item("sampler", "Sampler", {}, compared=BATCHES), root)
    assert outcome.verdict == "different" and "neg_item_id" in outcome.words


def test_the_lists_are_recboles():
    assert lists.modes() == ["labeled", "full", "uni", "pop"]
    assert set(lists.splits()) == {"RS", "LS", "TS"} - LACKING
    assert lists.orders() == ["RO", "TO"]
    assert lists.distributions() == ["uniform", "popularity"]
    assert "rm_dup_inter" in lists.filters() and "USER_ID_FIELD" not in lists.filters()
    own = [name for names in lists.models().values() for name in names]
    assert sorted(own) == sorted(registry.recbole_model_names())
    assert {name.lower() for name in lists.metrics()} <= set(metric_types)


def test_less_is_more_of_the_same_metrics_as_in_recbole():
    smaller = {name for name in map(str.lower, lists.metrics()) if not larger_is_better(name)}
    assert smaller == {name.lower() for name in smaller_metrics}
    assert not larger_is_better("GiniIndex@10") and larger_is_better("recall@20")


def test_the_document_lists_every_item():
    rows = [line.split(" | ")[:3] for line in DOCUMENT.read_text().splitlines()
            if line.startswith("| ") and not line.startswith("| kind")]
    told = {(kind.strip("| "), name, verdict) for kind, name, verdict in rows
            if name not in LACKING}
    refused = REFUSED_ITEMS | REFUSED_MODELS
    assert told == {(item.kind, item.name, REFUSED if item.name in refused else HONOURED)
                    for item in (*items(), *model_items())}
