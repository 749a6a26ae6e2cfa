"""What the benchmark of the baselines trains: every model's settings, and the published numbers."""

from __future__ import annotations

from typing import NamedTuple

PAPER, COMMON, CLOSED = "paper", "common", "closed"
_TRAINED = {"epochs": 60, "stopping_step": 5, "train_batch_size": 2048}
# Over the defaults of a model's yaml, below the settings of a group.
BASE: dict[str, dict] = {
    PAPER: _TRAINED,
    COMMON: {**_TRAINED, "embedding_size": 64, "objective": "sampled_softmax",
             "ranking_temperature": 0.2, "softmax_cosine": True, "sampling_power": 0.5},
    CLOSED: {},
}


class Group(NamedTuple):
    """The settings of a model among which validation chooses one, and the seeds of that one."""

    model: str
    objective: str
    settings: list[dict]
    seeds: int = 3

    @property
    def title(self) -> str:
        return f"{self.model} {self.objective}"

    @property
    def names(self) -> tuple[str, ...]:
        """One name per setting."""
        return tuple(f"{self.title} {k}" for k, _ in enumerate(self.settings, start=1))


class Plan(NamedTuple):
    """A benchmark: its dataset, what is compared, published numbers by model and what they are.

    Without `features` the dataset is prepared on ids alone.
    """

    dataset: str
    groups: list[Group]
    published: dict[str, str]
    published_note: str
    features: bool = True


_BPR = {"objective": "paper", "sampling_power": 0.0, "embedding_size": 64}
# The model's own loss: published choices, or learning rates and weights of the main regulariser.
OWN: dict[str, list[dict]] = {
    "BPR": [{"learning_rate": 0.001, "weight_decay": 0.0},
            {"learning_rate": 0.001, "weight_decay": 0.00001},
            {"learning_rate": 0.003, "weight_decay": 0.00001}],
    "LightGCN": [{"learning_rate": 0.001, "n_layers": 3, "reg_weight": 0.0001},
                 {"learning_rate": 0.001, "n_layers": 3, "reg_weight": 0.01},
                 {"learning_rate": 0.003, "n_layers": 3, "reg_weight": 0.01}],
    "FastLightGCN": [{"learning_rate": 0.001, "l2_weight": 0.0001},
                     {"learning_rate": 0.001, "l2_weight": 0.001},
                     {"learning_rate": 0.003, "l2_weight": 0.001}],
    "LayerGCN": [{"l2_weight": 0.0001}, {"l2_weight": 0.001}, {"l2_weight": 0.01}],
    "FastSGL": [{"contrast_weight": 0.1, "temperature": 0.2},
                {"contrast_weight": 0.5, "temperature": 0.2},
                {"contrast_weight": 0.1, "temperature": 0.5}],
    # Its yaml trains the common objective; the paper's loss of a LightGCN is BPR.
    "FeatureLightGCN": [{**_BPR, "learning_rate": 0.001, "l2_weight": 0.0001},
                        {**_BPR, "learning_rate": 0.003, "l2_weight": 0.0001},
                        {**_BPR, "learning_rate": 0.003, "l2_weight": 0.001}],
    "VBPR": [{"l2_weight": 0.01}, {"l2_weight": 0.1},
             {"l2_weight": 0.01, "learning_rate": 0.005}],
    "MMGCN": [{"learning_rate": 0.001, "l2_weight": 0.001},
              {"learning_rate": 0.003, "l2_weight": 0.001},
              {"learning_rate": 0.001, "train_preferences": False}],
    "GRCN": [{"learning_rate": 0.001, "l2_weight": 0.0},
             {"learning_rate": 0.005, "l2_weight": 0.0},
             {"learning_rate": 0.005, "l2_weight": 0.0, "released_routing": True}],
    "DualGNN": [{"learning_rate": 0.001, "l2_weight": 0.001},
                {"learning_rate": 0.003, "l2_weight": 0.001},
                {"learning_rate": 0.001, "l2_weight": 0.1}],
    "SLMRec": [{"contrast_weight": 0.01, "temperature": 0.2},
               {"contrast_weight": 0.01, "temperature": 0.5},
               {"contrast_weight": 0.05, "temperature": 0.5}],
    "LATTICE": [{"learning_rate": 0.001, "l2_weight": 0.0},
                {"learning_rate": 0.0005, "l2_weight": 0.0},
                {"learning_rate": 0.001, "l2_weight": 0.001}],
    "BM3": [{"n_layers": 2, "dropout": 0.3, "l2_weight": 0.01},
            {"n_layers": 1, "dropout": 0.5, "l2_weight": 0.1},
            {"n_layers": 2, "dropout": 0.3, "l2_weight": 0.01, "learning_rate": 0.003}],
    "FREEDOM": [{"edge_dropout": 0.8, "feature_weight": 0.001},
                {"edge_dropout": 0.8, "feature_weight": 0.0},
                {"edge_dropout": 0.9, "feature_weight": 0.001}],
    "MGCN": [{"contrast_weight": 0.03}, {"contrast_weight": 0.01}, {"contrast_weight": 0.1}],
    "LGMRec": [{"n_hyperedges": 4, "hypergraph_dropout": 0.5, "hypergraph_weight": 0.3},
               {"n_hyperedges": 4, "hypergraph_dropout": 0.6, "hypergraph_weight": 0.6,
                "feature_scaling": "none"},
               {"n_hyperedges": 4, "hypergraph_dropout": 0.5, "hypergraph_weight": 0.3,
                "contrast_weight": 0.000001}],
    "SMORE": [{"n_layers": 4, "knn_k": 40, "contrast_weight": 0.01, "view_dropout": 0.1},
              {"n_layers": 3, "knn_k": 10, "contrast_weight": 0.03},
              {"n_layers": 3, "knn_k": 10, "contrast_weight": 0.01, "view_attention": "channels"}],
    "PGL": [{"dropout": 0.2, "contrast_weight": 0.05}, {"dropout": 0.1, "contrast_weight": 0.5},
            {"contrast_weight": 0.0}],
    # Published with a tenth of this learning rate, for many more epochs than the budget's.
    "MENTOR": [{"learning_rate": 0.001, "align_weight": 0.1, "contrast_weight": 0.01},
               {"learning_rate": 0.001, "align_weight": 0.01, "contrast_weight": 0.01},
               {"learning_rate": 0.0003, "align_weight": 0.1, "contrast_weight": 0.01}],
    "SSR": [{"objective": "paper", "embedding_size": 64}],
}
# On the common objective one learning rate for every model, all else as its yaml has it: of .0005
# and .001, tried on the first seven models, validation chose the larger for six.
_RATES = [{"learning_rate": 0.001}]
# RecBole's two have no other loss than their own.
SHARED: dict[str, list[dict]] = {
    **{model: _RATES for model in OWN if model not in ("BPR", "LightGCN", "SSR")},
    "SSR": [{}],
}
# Without gradient descent, and so without seeds.
CLOSED_FORMS: dict[str, list[dict]] = {
    "FeatureItemKNN": [{"knn_k": 10, "interaction_weight": 0.0},
                       {"knn_k": 10, "interaction_weight": 0.5},
                       {"knn_k": 40, "interaction_weight": 0.5}],
    "FeatureEASE": [{"ridge": 30.0, "feature_weight": 100.0},
                    {"ridge": 30.0, "feature_weight": 10.0},
                    {"ridge": 100.0, "feature_weight": 100.0}],
    "GFCF": [{"modes": 256, "alpha": 3.0}, {"modes": 256, "alpha": 0.3},
             {"modes": 512, "alpha": 3.0}],
    "ClosedFormSum": [{"low_pass_weight": 1.0, "knn_weight": 0.0},
                      {"low_pass_weight": 3.0, "knn_weight": 0.0},
                      {"low_pass_weight": 1.0, "knn_weight": 1.0}],
}

# Recall@20 and NDCG@20 on TikTok, ‡ Recall@10 and NDCG@10.
_PUBLISHED = {
    "LightGCN": ".0653/.0282", "FastLightGCN": ".0653/.0282", "FastSGL": ".0603/.0238",
    "VBPR": ".0380/.0134", "MMGCN": ".0730/.0307", "GRCN": ".0804/.0350",
    "DualGNN": ".0552/.0278‡", "SLMRec": ".0845/.0353", "LATTICE": ".0843/.0367",
    "BM3": ".0957/.0404", "FREEDOM": ".0589/.0295‡", "LGMRec": ".0709/.0279*",
}
_NOTE = (
    "† Recall@20/NDCG@20 as published on this split, with three modalities (text too, which is "
    "not public) and mostly selected on test: LightGCN to SLMRec and SGL from MMSSL's README, BM3 "
    "from DiffMM. ‡ Recall@10/NDCG@10 from NLGCL+, which has LGMRec at .0610/.0304. * Run by the "
    "authors of MMHCL, untuned."
)

TIKTOK = Plan(
    "tiktok",
    [*(Group(model, CLOSED, settings, seeds=1) for model, settings in CLOSED_FORMS.items()),
     *(Group(model, PAPER, settings) for model, settings in OWN.items()),
     *(Group(model, COMMON, settings) for model, settings in SHARED.items())],
    _PUBLISHED,
    _NOTE,
)
