r"""SSR: Structured Spectral Reasoning for Frequency-Adaptive Multimodal Recommendation.

Yang, Zhong, Chen, Lu, Jiang; NeurIPS 2025; arXiv 2512.01372. This is the *reference profile*: what
the authors' released code computes, with masking confined to training, for any number of
modalities c in {id, ...}. U users, I items, N = U + I nodes, d channels per modality, D = C d.

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
from torch.nn import functional as F

from recbole_ssr.constants import Constants
from recbole_ssr.errors import UserError
from recbole_ssr.model.base import Batch, Embeddings, MultimodalRecommender
from recbole_ssr.model.item_graph import build_item_graph
from recbole_ssr.nn.losses import bce_ranking, weighted_mse
from recbole_ssr.nn.projection import FeatureProjection
from recbole_ssr.nn.sparse import add_sparse_product
from recbole_ssr.spectral.alignment import cross_modal_infonce, sample_rows
from recbole_ssr.spectral.bands import reference_bank
from recbole_ssr.spectral.chebyshev import band_rows, propagate_sum
from recbole_ssr.spectral.masking import band_mask
from recbole_ssr.spectral.operator import BandOperator

ID = "id"


class SSRLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    bce: Tensor
    consistency: Tensor
    alignment: Tensor
    regulariser: Tensor


class Spectrum(NamedTuple):
    """Bands of some nodes and the context rows that steer their fusion.

    Shapes: bands (B, M, D); context (B, D), the rows of Y.
    """

    bands: Tensor
    context: Tensor


class SSR(MultimodalRecommender):
    """SSR, reference profile. Settings: properties/model/SSR.yaml."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
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
        settings = (config["n_bands"], C * d, config["operator_rank"], config["gate_scale"])
        self.user_operator = BandOperator(*settings)
        self.item_operator = BandOperator(*settings)

    def item_signal(self, c: str) -> Tensor:
        """Return H_c (I, d)."""
        return self.H_id if c == ID else self.project[self._key[c]](self.features[self._key[c]])

    def spectrum(self, users: Tensor | None = None, items: Tensor | None = None) -> Spectrum:
        """Decompose the signal Y + Z of every modality into bands, on some users and items.

        Shapes: users (Bu,), items (Bi,), both None for all; result with Bu + Bi rows, users first.
        """
        U = self.n_users
        rows = None if users is None else torch.cat([users, items + U])
        bands, context = [], []
        for k, c in enumerate(self.modalities):
            P = self.P[k]
            X = F.normalize(torch.cat([P, self.item_signal(c)]), dim=1)
            G_user, G_item = propagate_sum(self.graph, X, self.n_layers).split([U, self.n_items])
            Y_user = self.w[:, k : k + 1] * G_user
            YZ_item = add_sparse_product(G_item, self.item_graph["T"], self.item_graph["Tt"])
            Q = torch.cat([Y_user + P, YZ_item])
            bands.append(band_rows(self.graph, Q, self.constants["bank"], rows))
            if rows is None:
                context.append(torch.cat([Y_user, G_item]))
            else:
                context.append(torch.cat([Y_user.index_select(0, users),
                                          G_item.index_select(0, items)]))
        return Spectrum(torch.cat(bands, dim=2), torch.cat(context, dim=1))

    def fuse(self, spectrum: Spectrum, n_users: int, *masks: Tensor | None) -> list[Embeddings]:
        """Fuse the bands once per mask; None is the clean branch. Users are the first rows.

        Shapes: masks (B, M).
        """
        sides = [
            (operator, bands, operator.context(q), slice(*span))
            for operator, bands, q, span in (
                (self.user_operator, spectrum.bands[:n_users], spectrum.context[:n_users],
                 (None, n_users)),
                (self.item_operator, spectrum.bands[n_users:], spectrum.context[n_users:],
                 (n_users, None)),
            )
        ]
        return [
            Embeddings(*(
                operator(bands if mask is None else bands * mask[span, :, None], context)
                for operator, bands, context, span in sides
            ))
            for mask in masks
        ]

    def encode(self) -> Embeddings:
        return self.fuse(self.spectrum(), self.n_users, None)[0]

    def calculate_loss(self, interaction) -> SSRLoss:
        batch = self.batch(interaction)
        spectrum = self.spectrum(batch.users, batch.items)
        mask = band_mask(spectrum.bands, self.mask_rate, self.generator)
        clean, masked = self.fuse(spectrum, len(batch.users), None, mask)
        user = clean.user.index_select(0, batch.user)
        bce = bce_ranking(
            (user * clean.item.index_select(0, batch.positive)).sum(1),
            (user * clean.item.index_select(0, batch.negative)).sum(1),
        )
        return SSRLoss(
            bce,
            self.consistency_weight * self.consistency(batch, clean, masked),
            self.contrast_weight * self.alignment(batch, spectrum),
            # The clean and the masked branch each carry the operators' penalty.
            self.operator_reg_weight * 2 * sum(
                operator.regulariser() for operator in (self.user_operator, self.item_operator)
            ),
        )

    def consistency(self, batch: Batch, clean: Embeddings, masked: Embeddings) -> Tensor:
        """C: squared error of masked against clean embeddings, mean over (u, i+, i-)."""
        item = torch.cat([batch.positive, batch.negative])
        user_mse = weighted_mse(masked.user, clean.user.detach(), counts(batch.user, batch.users))
        item_mse = weighted_mse(masked.item, clean.item.detach(), counts(item, batch.items))
        return (user_mse + 2 * item_mse) / 3

    def alignment(self, batch: Batch, spectrum: Spectrum) -> Tensor:
        """Q: InfoNCE of the bands between feature modalities, batch users plus positive items.

        Nodes count as often as they occur in the batch; negative items occur 0 times. Per side
        `contrast_nodes` of them are drawn at random. Averaged over the pairs of modalities.
        """
        user_bands, item_bands = spectrum.bands.split([len(batch.users), len(batch.items)])
        return self._infonce(user_bands, counts(batch.user, batch.users)) + self._infonce(
            item_bands, counts(batch.positive, batch.items)
        )

    def _infonce(self, bands: Tensor, repeats: Tensor) -> Tensor:
        rows = repeats.nonzero().squeeze(1)
        drawn = sample_rows(rows, self.contrast_nodes, self.generator)
        rows = rows if drawn is None else rows[drawn]
        parts = bands.index_select(0, rows).split(self.width, dim=2)[1:]
        weight = repeats.index_select(0, rows)
        losses = [
            cross_modal_infonce(a, b, weight, self.temperature) for a, b in combinations(parts, 2)
        ]
        return torch.stack(losses).mean() if losses else bands.new_zeros(())


def counts(positions: Tensor, distinct: Tensor) -> Tensor:
    """How often each distinct node occurs. Shapes: positions (B,); result like `distinct`."""
    return torch.bincount(positions, minlength=len(distinct)).float()
