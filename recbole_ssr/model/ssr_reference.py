r"""SSR, profile `reference`: what the authors' released code computes.

Masking is confined to training, and modalities c in {id, ...} may be any number. U users, I items,
N = U + I nodes, d channels per modality, D = C d. The paper's model is in ssr.py.

.. math::
    X_c &= \mathrm{rownorm}[P_c; H_c], \qquad G_c = \sum_{l=0}^{L} \hat A^l X_c \\
    Y_c &= [w_c \odot G_{c,user};\; G_{c,item}], \qquad
    Z_c = [P_c;\; T\, Y_{c,item}] \\
    B_m &= h_m(S)(Y + Z), \qquad agg = \mathrm{Operator}(B, Y), \qquad
    s_{ui} = \langle agg_u, agg_i \rangle \\
    \mathcal L &= \mathcal L_{BCE} + \lambda_{ma}\,\mathcal C + \lambda_{cl}\,\mathcal Q
    + \lambda_{reg}\,\mathcal R
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.errors import UserError
from recbole_ssr.model.base import ID, Batch, Embeddings, MultimodalRecommender
from recbole_ssr.model.item_graph import build_item_graph
from recbole_ssr.nn.losses import bce_ranking, weighted_mse
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.projection import FeatureProjection
from recbole_ssr.nn.rows import counts, select
from recbole_ssr.nn.sparse import add_sparse_product
from recbole_ssr.spectral.alignment import cross_modal_infonce, sample_rows
from recbole_ssr.spectral.bands import reference_bank
from recbole_ssr.spectral.chebyshev import band_rows, propagate_sum
from recbole_ssr.spectral.masking import band_mask
from recbole_ssr.spectral.operator import BandOperator


class ReferenceLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    bce: Tensor
    consistency: Tensor
    alignment: Tensor
    regulariser: Tensor


class OperatorInput(NamedTuple):
    """Bands of some nodes of one side, and the context rows that steer their fusion.

    Shapes: bands (M, B, D); context (B, D), the rows of Y.
    """

    bands: Tensor
    context: Tensor


class ReferenceSSR(MultimodalRecommender):
    """SSR as released. Settings: properties/model/SSR.reference.yaml over SSR.yaml."""

    embeds_new_items = True
    unread_settings = frozenset({
        "band_filter", "band_refit", "calibrate", "calibration_prior", "cheb_fit", "consistency",
        "contrast_ids", "exact_max_nodes", "feature_components", "gate_gains", "gate_hidden_size",
        "gate_speed", "inference_gains", "init_std", "item_bias", "item_graph_weight", "l2_weight",
        "mask_scope", "modality_dropout", "modality_preferences", "projection",
        "popularity_discount", "ranking_temperature", "softmax_candidates", "softmax_cosine",
        "svd_bands", "svd_modes", "user_weights",
    })

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        if config["operator_rank"] < 1:
            raise UserError(f"operator_rank is {config['operator_rank']}; the operator of profile "
                            "reference has at least rank 1")
        if self.objective.name != "bce":
            raise UserError(f"profile reference trains objective bce only, not "
                            f"{self.objective.name}; choose it with profile paper")
        self.width = d = config["embedding_size"]
        self.n_layers, self.mask_rate = config["n_layers"], config["mask_rate"]
        self.temperature, self.contrast_nodes = config["temperature"], config["contrast_nodes"]
        self.contrast_weight = config["contrast_weight"]
        self.consistency_weight = config["consistency_weight"]
        self.operator_reg_weight = config["operator_reg_weight"]

        features = dataset.item_features
        self.modalities = (ID, *features.modalities)
        C = len(self.modalities)
        self.item_graph = build_item_graph(config, features)
        try:
            bank = reference_bank(config["n_bands"], config["cheb_degree"])
        except ValueError as error:
            raise UserError(str(error)) from None
        self.constants = Constants(bank=bank)

        # Keys of submodules may not contain dots, names of modalities may.
        self._key = {c: f"modality{k}" for k, c in enumerate(self.modalities)}
        matrices = {self._key[c]: features.matrix(c) for c in features.modalities}
        if config["train_features"]:
            self.features = nn.ParameterDict(matrices)
        else:
            self.features = Constants(**matrices)
        self.project = nn.ModuleDict({
            self._key[c]: FeatureProjection(features.dim(c), config["feature_hidden_size"], d)
            for c in features.modalities
        })
        self.H_id = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_items, d)))
        self.P = nn.ParameterList(
            nn.init.xavier_normal_(torch.empty(self.n_users, d)) for _ in self.modalities
        )
        self.w = nn.Parameter(torch.randn(self.n_users, C).softmax(dim=1))
        self.user_operator, self.item_operator = (
            BandOperator(
                n_bands=config["n_bands"], width=C * d, rank=config["operator_rank"],
                gate_scale=config["gate_scale"],
            )
            for _ in range(2)
        )

    @property
    def user_tables(self) -> tuple[str, ...]:
        return ("w", *(f"P.{k}" for k in range(len(self.modalities))))

    def trained_features(self) -> list[Tensor]:
        if not isinstance(self.features, nn.ParameterDict):
            return []
        return [self.features[self._key[c]] for c in self.modalities[1:]]

    def item_signal(self, c: str) -> Tensor:
        """Return H_c (I, d)."""
        return self.H_id if c == ID else self.project[self._key[c]](self.features[self._key[c]])

    def spectra(
        self, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[OperatorInput, OperatorInput]:
        """Decompose the signal Y + Z of every modality into bands, on some users and items.

        Shapes: users (Bu,), items (Bi,) distinct ids, both None for all.
        """
        signals, context = [], ([], [])
        for k, c in enumerate(self.modalities):
            P = self.P[k]
            X = unit_rows(P), unit_rows(self.item_signal(c))  # (U, d), (I, d)
            G_user, G_item = propagate_sum(self.graph, X, layers=self.n_layers)
            Y_user = self.w[:, k : k + 1] * G_user
            YZ_item = add_sparse_product(G_item, self.item_graph["T"], self.item_graph["Tt"])
            signals.append((Y_user + P, YZ_item))
            context[0].append(select(Y_user, users))
            context[1].append(select(G_item, items))
        bands = band_rows(
            self.graph, signals, coefficients=self.constants["bank"], users=users, items=items
        )
        return tuple(OperatorInput(bands=B, context=torch.cat(q, dim=1))  # (M, B, D), (B, D)
                     for B, q in zip(bands, context))

    def encode(self) -> Embeddings:
        sides = zip((self.user_operator, self.item_operator), self.spectra())
        return Embeddings(*(
            operator(bands, q=q, masks=torch.ones_like(bands[:, :, 0].T[None]))[0]  # (N, D)
            for operator, (bands, q) in sides
        ))

    def calculate_loss(self, interaction) -> ReferenceLoss:
        batch = self.batch(interaction)
        user, item = self.spectra(batch.users, batch.items)
        fused_user = self.fuse_clean_and_masked(self.user_operator, user)  # (2, Bu, D)
        fused_item = self.fuse_clean_and_masked(self.item_operator, item)  # (2, Bi, D)
        anchor = fused_user[0].index_select(0, batch.user)
        bce = bce_ranking(
            (anchor * fused_item[0].index_select(0, batch.positive)).sum(1),
            (anchor * fused_item[0].index_select(0, batch.negative)).sum(1),
        )
        # The clean and the masked branch each carry the operators' penalty.
        penalty = 2 * (self.user_operator.regulariser() + self.item_operator.regulariser())
        return ReferenceLoss(
            bce=bce,
            consistency=self.consistency_weight * self.consistency(batch, fused_user, fused_item),
            alignment=self.contrast_weight * self.alignment(batch, user.bands, item.bands),
            regulariser=self.operator_reg_weight * penalty,
        )

    def fuse_clean_and_masked(self, operator: BandOperator, side: OperatorInput) -> Tensor:
        """Return the embeddings (2, B, D) from all bands and from bands masked at random."""
        M, B = side.bands.shape[:2]
        mask = band_mask(B, M, self.mask_rate, self.generator).to(side.bands)  # (B, M)
        masks = torch.stack([torch.ones_like(mask), mask])  # (2, B, M)
        return operator(side.bands, q=side.context, masks=masks)

    def consistency(self, batch: Batch, user: Tensor, item: Tensor) -> Tensor:
        """C: squared error of masked against clean embeddings, mean over (u, i+, i-).

        Shapes: user (2, Bu, D), item (2, Bi, D): clean, masked.
        """
        items = torch.cat([batch.positive, batch.negative])
        user_mse = weighted_mse(user[1], user[0].detach(), counts(batch.user, batch.users))
        item_mse = weighted_mse(item[1], item[0].detach(), counts(items, batch.items))
        return (user_mse + 2 * item_mse) / 3

    def alignment(self, batch: Batch, user_bands: Tensor, item_bands: Tensor) -> Tensor:
        """Q: InfoNCE of the bands between feature modalities, batch users plus positive items.

        Nodes count as often as they occur in the batch; negative items occur 0 times. Per side
        `contrast_nodes` of them are drawn at random. Averaged over the pairs of modalities.
        """
        return self._infonce(user_bands, counts(batch.user, batch.users)) + self._infonce(
            item_bands, counts(batch.positive, batch.items)
        )

    def _infonce(self, bands: Tensor, repeats: Tensor) -> Tensor:
        rows = repeats.nonzero().squeeze(1)
        drawn = sample_rows(rows, self.contrast_nodes, self.generator)
        rows = rows if drawn is None else rows[drawn]
        parts = bands.index_select(1, rows).split(self.width, dim=2)[1:]
        weight = repeats.index_select(0, rows)
        losses = [
            cross_modal_infonce(a, b, weight, self.temperature) for a, b in combinations(parts, 2)
        ]
        return torch.stack(losses).mean() if losses else bands.new_zeros(())
