"""What is tried: every entry of RecBole's lists with settings that use it.

An entry without settings here is a KeyError, so that a new version of RecBole cannot add one
unseen.
"""

from __future__ import annotations

from typing import NamedTuple

from recbole_ssr.conformance import lists
from recbole_ssr.conformance.data import PARTS

EVALUATION, BATCHES, TRAINING, RUN = "evaluation", "batches", "training", "run"
_INTER = ["user_id", "item_id", "rating", "timestamp"]
_USER, _ITEM = ["user_id", "age", "gender"], ["item_id", "year", "price", "class"]
_KG = {"inter": _INTER, "kg": ["head_id", "relation_id", "tail_id"],
       "link": ["item_id", "entity_id"]}
_VALUES = ["AUC", "MAE", "RMSE", "LogLoss"]
_ON_VALUES = {"metrics": _VALUES, "valid_metric": "AUC"}
_LABELED = {"threshold": {"rating": 3}, "eval_args": {"mode": "labeled"}, **_ON_VALUES}


class Item(NamedTuple):
    """An entry of a list of RecBole's, and how it is tried.

    Attributes:
        kind: of the entry, a heading of the table.
        name: of the entry.
        settings: over those of all items.
        model: that they are tried with.
        compared: what is compared with RecBole's own code: EVALUATION with equal parameters,
            BATCHES of an epoch, TRAINING of an epoch, or RUN, a whole run, then its evaluation.
        unlike: why it is not as in RecBole, and right; nothing is compared then.
    """

    kind: str
    name: str
    settings: dict
    model: str = "BPR"
    compared: str = EVALUATION
    unlike: str = ""


def items() -> list[Item]:
    """Return everything but the models, in the order of the table."""
    return [
        *_of("evaluation mode", lists.modes(), _MODES),
        *_of("split", [*lists.splits(), *lists.left_out()], _SPLITS),
        *_of("order", lists.orders(), {"RO": {"eval_args": {"order": "RO"}},
                                       "TO": {"eval_args": {"order": "TO"}}}),
        *_of("group_by", lists.groups(), {"user": {"eval_args": {"group_by": "user"}},
                                          "none": {"eval_args": {"group_by": "none"}}}),
        *_of("filter", lists.filters(), _FILTERS),
        *_of("sampler", lists.samplers(), _SAMPLERS, compared=BATCHES),
        *_of("negatives", lists.distributions(), _NEGATIVES, compared=BATCHES),
        *_of("metric", lists.metrics(), _metrics()),
        *_of("learner", lists.learners(), {name: {"learner": name} for name in lists.learners()},
             compared=TRAINING),
    ]


def model_items() -> list[Item]:
    """Return every model of RecBole, each with data that its family reads."""
    return [Item(_FAMILIES[folder], model, {**_OF_FAMILY[folder], **_OF_MODEL.get(model, {})},
                 model, RUN)
            for folder, names in lists.models().items() for model in names]


def _of(kind: str, names: list[str], examples: dict, compared: str = EVALUATION) -> list[Item]:
    """Return the items of a list, and behind each the variants that examples add to its name."""
    items = []
    for name in names:
        for key in (name, *(key for key in examples if key.startswith(f"{name} "))):
            settings = dict(examples[key])
            items.append(Item(kind, key, settings, settings.pop("model", "BPR"), compared,
                              settings.pop("unlike", "")))
    return items


def _split(split: object, **more: object) -> dict:
    return {"eval_args": {"split": split, **more}}


def _metrics() -> dict[str, dict]:
    ranking = [name for name in lists.metrics() if name not in _VALUES]
    of_lists = {"metrics": ranking, "topk": [5, 10], "valid_metric": "Recall@10"}
    of_pairs = {"eval_args": {"mode": "uni20"}, **_ON_VALUES}
    return {name: of_pairs if name in _VALUES else of_lists for name in lists.metrics()}


_MODES = {
    "full": {"eval_args": {"mode": "full"}},
    "labeled": _LABELED,
    "uni": {"eval_args": {"mode": "uni20"}},
    "uni for validation, full for test": {"eval_args": {"mode": {"valid": "uni20",
                                                                "test": "full"}}},
    "pop": {"eval_args": {"mode": "pop20"}},
}
_SPLITS = {
    "RS": _split({"RS": [0.8, 0.1, 0.1]}),
    "RS without validation": _split({"RS": [0.8, 0, 0.2]}),
    "RS without test": _split({"RS": [0.8, 0.2, 0]}),
    "LS": _split({"LS": "valid_and_test"}, order="TO"),
    "TS": _split({"TS": [0.8, 0.1, 0.1]}, order="TO"),
    "TS in random order": {**_split({"TS": [0.8, 0.1, 0.1]}, order="RO"),
                           "unlike": "which takes other rows of a user than the latest for test"},
    "valid_and_test": _split({"LS": "valid_and_test"}, order="RO"),
    "valid_only": _split({"LS": "valid_only"}),
    "test_only": _split({"LS": "test_only"}),
}
_FILTERS = {
    "load_col": {"load_col": {"inter": ["user_id", "item_id"], "item": _ITEM}},
    "load_col of a column that no file has": {"load_col": {"inter": ["user_id", "item_id",
                                                                    "raiting"]}},
    "unload_col": {"load_col": None, "unload_col": {"inter": ["rating"]}},
    "unused_col": {"unused_col": {"inter": ["rating"]}},
    "additional_feat_suffix": {"additional_feat_suffix": ["ent"], "alias_of_item_id": ["ent_id"],
                               "load_col": {"inter": _INTER, "ent": ["ent_id"]}},
    "rm_dup_inter": {"rm_dup_inter": "first"},
    "rm_dup_inter last": {"rm_dup_inter": "last"},
    "val_interval": {"val_interval": {"rating": "[2,inf)"}},
    "val_interval of tokens": {"val_interval": {"year": ["1990", "1991", "1992", "1993"]},
                               "load_col": {"inter": _INTER, "item": _ITEM}},
    "val_interval of a column that is not loaded": {"val_interval": {"age": "[20,inf)"}},
    "filter_inter_by_user_or_item": {"filter_inter_by_user_or_item": True,
                                     "load_col": {"inter": _INTER, "user": _USER}},
    "user_inter_num_interval": {"user_inter_num_interval": "[15,inf)"},
    "item_inter_num_interval": {"item_inter_num_interval": "[16,24)"},
    "alias_of_user_id": {"alias_of_user_id": ["friend"],
                         "load_col": {"inter": _INTER, "user": ["user_id", "friend"]}},
    "alias_of_item_id": {"alias_of_item_id": ["similar"],
                         "load_col": {"inter": _INTER, "item": ["item_id", "similar"]}},
    "alias_of_entity_id": {"model": "CKE", "alias_of_entity_id": ["topic"],
                           "load_col": {**_KG, "item": ["item_id", "topic"]}},
    "alias_of_relation_id": {"model": "CKE", "alias_of_relation_id": ["reason"],
                             "load_col": {**_KG, "item": ["item_id", "reason"]}},
    "preload_weight": {"preload_weight": {"ent_id": "ent_emb"}, "alias_of_item_id": ["ent_id"],
                       "additional_feat_suffix": ["ent"],
                       "load_col": {"inter": _INTER, "ent": ["ent_id", "ent_emb"]}},
    "normalize_field": {"normalize_field": ["rating"]},
    "normalize_all": {"normalize_all": True},
    "discretization": {"discretization": {"rating": {"method": "ED", "bucket": 5}},
                       "numerical_features": ["rating"]},
    "benchmark_filename": {"benchmark_filename": list(PARTS)},
}
_SAMPLERS = {
    "Sampler": {},
    "RepeatableSampler": {"repeatable": True},
    "KGSampler": {"model": "CKE", "load_col": _KG},
    "SeqSampler": {"model": "DIEN", "load_col": {"inter": _INTER, "item": _ITEM},
                   "eval_args": {"mode": "uni10"}, "MAX_ITEM_LIST_LENGTH": 10, **_ON_VALUES},
}
_NEGATIVES = {
    "uniform": {},
    "uniform 3": {"train_neg_sample_args": {"sample_num": 3}},
    "uniform dynamic": {"train_neg_sample_args": {"dynamic": True, "candidate_num": 4}},
    "popularity": {"train_neg_sample_args": {"distribution": "popularity", "alpha": 0.5}},
}
_FAMILIES = {
    "general_recommender": "general model", "context_aware_recommender": "context-aware model",
    "sequential_recommender": "sequential model", "exlib_recommender": "model of another library",
    "knowledge_aware_recommender": "knowledge-aware model",
}
_CONTEXT = {**_LABELED, "load_col": {"inter": _INTER[:3], "user": _USER, "item": _ITEM}}
_OF_FAMILY = {
    "general_recommender": {},
    "context_aware_recommender": _CONTEXT,
    "exlib_recommender": _CONTEXT,
    "sequential_recommender": {"load_col": {"inter": _INTER, "item": _ITEM},
                               "MAX_ITEM_LIST_LENGTH": 10},
    "knowledge_aware_recommender": {"load_col": _KG},
}
_SAMPLED = {"eval_args": {"mode": "uni10"}, **_ON_VALUES}
_VECTORS = {
    **_split({"LS": "valid_and_test"}, order="TO"),
    "load_col": {**_KG, "ent": ["ent_id", "ent_emb"], "rel": ["rel_id", "rel_emb"]},
    "additional_feat_suffix": ["ent", "rel"], "alias_of_item_id": ["ent_id"],
    "alias_of_relation_id": ["rel_id"],
    "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
}
_OF_MODEL = {
    "DIN": _SAMPLED, "DIEN": _SAMPLED,
    # Its two towers take features of one token only.
    "DSSM": {"load_col": {"inter": _INTER[:3], "user": ["user_id", "gender"], "item": _ITEM[:2]}},
    "GRU4RecCPR": {"reranker_CAN_NUM": 20}, "SASRecCPR": {"reranker_CAN_NUM": 20},
    "GRU4RecKG": _VECTORS, "KSR": _VECTORS,
}
