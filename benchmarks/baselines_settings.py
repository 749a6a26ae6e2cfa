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
    """A benchmark: its dataset, what is compared, published numbers by model and what they are."""

    dataset: str
    groups: list[Group]
    published: dict[str, str]
    published_note: str


# The model's own loss. None of RecBole's two has another; SSR's own is bce.
OWN: dict[str, list[dict]] = {
    "BPR": [{"learning_rate": 0.001}, {"learning_rate": 0.0003}, {"learning_rate": 0.003}],
    "LightGCN": [{"learning_rate": 0.001, "n_layers": 2, "reg_weight": 0.0001},
                 {"learning_rate": 0.001, "n_layers": 3, "reg_weight": 0.01},
                 {"learning_rate": 0.003, "n_layers": 3, "reg_weight": 0.0001}],
    "SSR": [{"objective": "paper", "embedding_size": 64}],
}
# The common objective.
SHARED: dict[str, list[dict]] = {
    "SSR": [{}],
}
# Without gradient descent, and so without seeds.
CLOSED_FORMS: dict[str, list[dict]] = {}

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
