r"""SSR: Structured Spectral Reasoning for Frequency-Adaptive Multimodal Recommendation.

Yang, Zhong, Chen, Lu, Jiang; NeurIPS 2025; arXiv 2512.01372. This is the profile `paper`: the four
stages as the paper states them. What the authors' released code computes instead is the profile
`reference`, in ssr_reference.py. U users, I items, M bands, C modalities: the ids and every feature
modality; d channels.

.. math::
    \text{signal}\quad & G_c = Y_c + t\, T\, Y_c \text{ on items}, \qquad
        Y_c = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l X_c \\
    \text{1 decompose}\quad & B_{mc} = h_m(L - I)\, G_c, \qquad \sum_m h_m = 1 \\
    \text{2 modulate}\quad & \tilde B_{mc} = \mu_m B_{mc}, \qquad
        \mu_m \in \{0, 1 / (1 - p)\} \text{ at random} \\
    \text{3 fuse}\quad & agg = \textstyle\sum_{mc} g_{mc} F_{mc}(B), \qquad
        s_{ui} = \langle agg_u, agg_i \rangle \text{ or their cosine, } + b_i \\
    \text{4 align}\quad & \mathcal Q: B_{mc} \text{ with } B_{mc'} \text{ of the same node} \\
    \mathcal L = &\ \mathcal L_{rank} + \lambda_{ma}\, \mathcal C(\tilde s, s)
        + \lambda_{cl}\, \mathcal Q + \lambda_2 \|E\|^2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.errors import UserError
from recbole_ssr.model.bank import build_bank
from recbole_ssr.model.base import ID, Batch, Embeddings, MultimodalRecommender
from recbole_ssr.model.feature_signal import FeatureSignal, Propagation
from recbole_ssr.model.held_out import held_out_sample
from recbole_ssr.model.item_graph import fitting_item_graph
from recbole_ssr.model.node_bands import (
    LinearFusion,
    ModalityBands,
    NodeBands,
    Pairs,
    Side,
    before_fusion,
    fused,
)
from recbole_ssr.model.node_facts import node_facts
from recbole_ssr.model.rotation import fitted_centre, rotated
from recbole_ssr.model.ssr_footprint import footprint
from recbole_ssr.model.unseen_items import UnseenItems
from recbole_ssr.nn.batch import padded
from recbole_ssr.nn.fixed_shapes import on_device
from recbole_ssr.nn.losses import weighted_mse
from recbole_ssr.nn.rows import counts, select
from recbole_ssr.nodes import Nodes
from recbole_ssr.products import csr_product
from recbole_ssr.spectral.alignment import cross_modal_infonce, sample_rows
from recbole_ssr.spectral.calibration import Calibration, calibration, octaves
from recbole_ssr.spectral.fusion import SpectralFusion, band_gains
from recbole_ssr.spectral.masking import band_mask, modality_mask

_UNSEEN = 0.5  # interactions that an item without any is expected to have, before validation


class SSRLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    consistency: Tensor
    alignment: Tensor
    l2: Tensor


class SSRStep(NamedTuple):
    """A batch and what a step draws for it, see :meth:`SSR.draw`.

    Shapes: aligned (n,) places among the batch's users and among its items, and `once` (n,) 1 for
    each of them; modality_masks (B, 1, C) and band_masks (B or 1, M, 1) of its users and of the
    items of pairs; None where there are none.
    """

    batch: Batch
    pairs: Pairs
    aligned: Nodes | None
    once: Nodes | None
    modality_masks: Nodes | None
    band_masks: Nodes | None

    def padded(self, all_items: bool, contrast_nodes: int, mask_scope: str) -> SSRStep:
        """Return the step in the shapes that follow from its number of interactions alone."""
        batch = self.batch.padded(all_items)
        sizes = len(batch.users), len(batch.items)
        pairs = self.pairs._replace(items=padded(self.pairs.items, len(self.pairs.item), 0))
        most = [min(n, contrast_nodes or n) for n in (len(batch.user), len(batch.positive))]
        return SSRStep(
            batch, pairs,
            aligned=_each(self.aligned, most, 0), once=_each(self.once, most, 0),
            modality_masks=_each(self.modality_masks, sizes, 1),
            band_masks=_each(self.band_masks, (sizes[0], len(pairs.items)), 1)
            if mask_scope == "node" else self.band_masks,
        )


def _each(parts: Nodes | None, sizes: Sequence[int], value: float) -> Nodes | None:
    return parts and tuple(padded(part, n, value) for part, n in zip(parts, sizes))


class SSR(MultimodalRecommender):
    """SSR, profile `paper`. Settings: properties/model/SSR.yaml."""

    paper_objective = "bce"
    profile_classes = {"reference": "recbole_ssr.model.ssr_reference:ReferenceSSR"}
    embeds_new_items = True
    newer_state = ("gains", "bias_gain", "popularity")
    older_state = ("gains_without_edges",)
    footprint = staticmethod(footprint)

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width = d = config["embedding_size"]
        self._read_weights(config)
        features = dataset.item_features
        self.modalities = (ID, *features.modalities)
        self.bank = build_bank(config, self.graph)
        M, C = self.bank.n_bands, len(self.modalities)
        t = config["item_graph_weight"]
        self.item_graph = fitting_item_graph(config, features, self.graph) if t else None
        self.propagation = Propagation(self.graph, config["n_layers"], self.item_graph, t)
        self.unseen = UnseenItems(self.item_degree, self.item_graph, t)

        std = config["init_std"]
        self.E_user = nn.Parameter(std * torch.randn(self.n_users, d))
        self.E_item = nn.Parameter(std * torch.randn(self.n_items, d))
        self.features = nn.ModuleList(
            FeatureSignal(
                rotated(config, features, c), features.has_feature(c), width=d,
                n_users=self.n_users, projection=config["projection"],
                hidden=config["feature_hidden_size"], trainable=config["train_features"],
                preferences=config["modality_preferences"],
                centre=fitted_centre(config, features, c),
            )
            for c in features.modalities
        )
        self.v = nn.Parameter(torch.zeros(self.n_users, C)) if config["user_weights"] else None
        self.bias_power, self.popularity_discount = (
            config["item_bias"], config["popularity_discount"])
        self.b = None if self.bias_power is None else nn.Parameter(self._initial_bias())
        self.constants = Constants(inference_gains=band_gains(config["inference_gains"], M))
        self._set_facts(self.n_users, self.n_items)
        self.register_buffer("gains", torch.ones(M, C))
        self.register_buffer("bias_gain", torch.ones(()))
        knots = int(self.item_users.max()).bit_length() + 1
        self.register_buffer("popularity", torch.zeros(knots))
        self.user_fusion, self.item_fusion = (
            SpectralFusion(
                n_bands=M, n_modalities=C, width=d, rank=config["operator_rank"],
                hidden=config["gate_hidden_size"], n_facts=C, gains=config["gate_gains"],
                speed=config["gate_speed"],
            )
            for _ in range(2)
        )
        # Unit users, weights per user, a gate by node and means over present features are not.
        self.affine_users = not (
            self.objective.cosine or config["user_weights"] or config["gate_hidden_size"]
            or any(not features.has_feature(c)[1:].all() for c in features.modalities)
        )
        self.register_load_state_dict_post_hook(lambda module, _: module._drop_bands())
        self.fit_bands()

    def _read_weights(self, config) -> None:
        self.mask_rate, self.mask_scope = config["mask_rate"], config["mask_scope"]
        self.modality_dropout = config["modality_dropout"]
        self.consistency_on = config["consistency"]
        self.consistency_weight = config["consistency_weight"]
        self.contrast_weight = config["contrast_weight"]
        self.contrast_nodes, self.contrast_ids = config["contrast_nodes"], config["contrast_ids"]
        if self.contrast_ids and self.contrast_weight and not config["init_std"]:
            raise UserError("contrast_ids aligns ids that init_std: 0 starts without a direction; "
                            "set init_std above 0")
        self.temperature = config["temperature"]
        self.calibration_prior = config["calibration_prior"]
        self.l2_weight, self.refit = config["l2_weight"], config["band_refit"]

    def _initial_bias(self, unseen: float = _UNSEEN) -> Tensor:
        r"""Return :math:`\log d_i^{power}` less its mean over the items of training.

        Items without interactions start, and stay, at the value of `unseen` ones: nothing in
        training moves them where `softmax_candidates` is train. Shapes: result (I,).
        """
        return self.bias_power * self._log_popularity(unseen)

    @property
    def item_users(self) -> Tensor:
        """Users of every item in training: who repeats an interaction counts once. Shapes: (I,)."""
        return self.graph["Rt"].crow_indices().diff()

    def _log_popularity(self, unseen: float = _UNSEEN) -> Tensor:
        """Return the log of items' users less its mean over the items of training."""
        degree = self.item_users.to(torch.float32)
        log = torch.where(degree > 0, degree, unseen).log()
        return log - log[degree > 0].mean()

    @torch.no_grad()
    def before_training(self, held_out: Tensor) -> None:
        r"""Set the bias of items without interactions to what validation shows of their like.

        Of n such items and N training interactions, v of the former and w of the other items'
        interactions are held out. Each counts as :math:`(1 + v) / (1/u + n w / N)` interactions,
        the posterior mean of a Poisson rate under an exponential prior of mean u = 1/2: where no
        item is new it stays there, and where all that is held out is of new items they come first.

        Shapes: held_out (P,) items of the interactions of validation.
        """
        if self.b is None:
            return
        degree = self.item_users
        v = int((degree[held_out.to(degree.device)] == 0).sum())
        n = int((degree[1:] == 0).sum())  # item 0 is padding
        expected = n * (len(held_out) - v) / float(degree.sum())
        self.b.copy_(self._initial_bias((1 + v) / (1 / _UNSEEN + expected)))

    def _set_facts(self, n_users: int, n_items: int) -> None:
        """Tell the gate what it may know of a node; `n_users` and `n_items` were trained on."""
        gains = self.constants["inference_gains"]
        present = [feature.present for feature in self.features]
        facts = node_facts(self.graph, self.propagation, present, n_users, n_items)
        self.constants = Constants(**facts, inference_gains=gains).to(gains)

    @property
    def bias_channels(self) -> int:
        return int(self.b is not None or self.popularity_discount > 0)

    @property
    def user_tables(self) -> tuple[str, ...]:
        trained = [f"features.{k}.P" for k, f in enumerate(self.features) if f.P is not None]
        return ("E_user", *(["v"] if self.v is not None else []), *trained)

    def receivers_added(self, rows: Tensor) -> None:
        self.bank.add_receivers(rows)
        for feature in self.features:
            feature.n_users += len(rows)
            feature.drop_bands()
        self._set_facts(len(self.constants["user"]), self.n_items)

    def items_added(self, n_known: int) -> None:
        self._set_facts(self.n_users, n_known)

    # Stage 1: decompose

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Called by the trainer before every epoch: bands follow the energy of the signals."""
        if self.refit:
            self.fit_bands()

    @torch.no_grad()
    def fit_bands(self) -> None:
        """Share out the energy of all signals among the bands, from the parameters as they are."""
        signals = [self.propagation(self.E_user, self.E_item)]
        signals += [feature.signal(self.propagation) for feature in self.features]
        signal = tuple(torch.cat(side, dim=1) for side in zip(*signals))
        if not any(side.any() for side in signal):
            raise UserError("there is nothing to decompose: features and ids are all 0. Give "
                            "features that are not, or init_std above 0")
        self.bank.fit(signal)
        self._drop_bands()

    def _drop_bands(self) -> None:
        self.drop_encoded()
        for feature in self.features:
            feature.drop_bands()

    def spectra(
        self, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[NodeBands, NodeBands]:
        """Decompose the signal of every modality, on some users and items.

        Shapes: users (Bu,), items (Bi,) distinct ids, None for all.
        """
        of_ids = self.bank([(self.E_user, self.E_item)], users=users, items=items,
                           before=self.propagation)  # (M, Bu, d), (M, Bi, d)
        user, item = ([ModalityBands(bands)] for bands in of_ids)
        for feature in self.features:
            if feature.frozen:  # (M, B, f + 1), still to be projected
                both = feature.frozen_bands(self.propagation, self.bank, users=users, items=items)
            else:
                both = self.bank([feature.signal(self.propagation)], users=users, items=items)
            W = feature.W if feature.frozen else None
            user.append(ModalityBands(both[0], W))
            item.append(ModalityBands(both[1], W))
        return (
            NodeBands(
                modalities=tuple(user),
                facts=select(self.constants["user"], users),  # (Bu, Z)
                weights=self._user_weights(users),  # (Bu, 1, C)
            ),
            NodeBands(
                modalities=tuple(item),
                facts=select(self.constants["item"], items),  # (Bi, Z)
            ),
        )

    def _user_weights(self, users: Tensor | None) -> Tensor | None:
        """C softmax(v_u): equal weights are 1. Applied to bands, so that they stay bands."""
        if self.v is None:
            return None
        return len(self.modalities) * select(self.v, users).softmax(dim=1).unsqueeze(1)

    # Stages 2 and 3: modulate, fuse

    def fuse(self, user: NodeBands, item: NodeBands, keep: Nodes | None = None) -> Embeddings:
        """Fuse the spectra of both sides. Shapes: keep (B or 1, M or 1, C or 1) factors each."""
        of_user, of_item = keep or (None, None)
        return Embeddings(
            user=fused(self.user_fusion, user, of_user),  # (Bu, d)
            item=fused(self.item_fusion, item, of_item),  # (Bi, d)
        )

    def _modality_masks(self, n_users: int, n_items: int) -> Nodes | None:
        """Draw factors on the slots of some nodes. Shapes: (B, 1, C) of either side."""
        if not self.modality_dropout:
            return None
        C = len(self.modalities)
        return tuple(modality_mask(n, C, self.modality_dropout, self.generator)
                     for n in (n_users, n_items))

    def consistency(
        self, pairs: Pairs, masks: Nodes | None, user: Side, item: Side, full: Embeddings,
        bias: Tensor | None = None,
    ) -> Tensor:
        """C: what the model predicts from bands masked at random, against all bands.

        On `predictions`, the squared difference of the scores of the batch's pairs; on
        `distributions`, the KL divergence between the softmax of all scores of the batch's users
        and items; on `representations`, the squared difference of the embeddings.

        `user` and `item` are the batch's users and pairs.items before their fusion; `full` is all
        that was fused. Shapes: masks (B or 1, M, 1 or C) of either, None for none; bias (Bi,) of
        its items.
        """
        if masks is None:
            return full.user.new_zeros(())
        target = Embeddings(full.user.detach(), full.item.detach().index_select(0, pairs.items))
        masked = Embeddings(user.embed(masks[0]), item.embed(masks[1]))  # (Bu, d), (B', d)
        if self.consistency_on == "representations":
            of_user = weighted_mse(masked.user, target.user, counts(pairs.user, masked.user))
            of_item = weighted_mse(masked.item, target.item, counts(pairs.item, masked.item))
            return (of_user + 2 * of_item) / 3
        bias = None if bias is None else bias.index_select(0, pairs.items)  # (B',)
        masked, target = (self._logits(x, bias) for x in (masked, target))
        if self.consistency_on == "distributions":
            q, p = ((x.user @ x.item.T).log_softmax(dim=1) for x in (masked, target))  # (Bu, B')
            return nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")
        return (pairs.scores(masked) - pairs.scores(target)).square().mean()

    def _band_masks(self, n_users: int, n_items: int) -> Nodes | None:
        """Draw mu; where its scope is global, one for both sides. Shapes: (B or 1, M, 1)."""
        if not self.mask_rate or not self.consistency_weight:
            return None
        masks = [
            band_mask(n, self.bank.n_bands, self.mask_rate, self.generator)
            for n in ((n_users, n_items) if self.mask_scope == "node" else (1,))
        ]
        return tuple(mask.unsqueeze(2) for mask in (masks[0], masks[-1]))

    def _masks_of_slots(self, step: SSRStep) -> Nodes | None:
        """Return the factors of bands, on the modalities that the step leaves to a node: both
        sides of the consistency loss lack the same. Shapes: (B or 1, M, 1 or C) of either side.
        """
        if step.band_masks is None or step.modality_masks is None:
            return step.band_masks
        (of_user, of_item), (users, items) = step.band_masks, step.modality_masks
        return of_user * users, of_item * items.index_select(0, step.pairs.items)

    def _logits(self, x: Embeddings, bias: Tensor | None) -> Embeddings:
        """Scale embeddings so that inner products are the logits of the ranking objective."""
        user, item = self.objective.scored(*x, bias)
        return Embeddings(user * self.objective.logit_scale, item)

    # Stage 4: align

    def _aligned_nodes(self, batch: Batch) -> Nodes | None:
        """Return places of users and of items among the batch's, drawn from its distinct users and
        positives, at most `contrast_nodes` of each; None where no modalities are aligned.
        """
        if len(self.modalities) <= (1 if self.contrast_ids else 2) or not self.contrast_weight:
            return None
        users = torch.arange(len(batch.users), device=batch.users.device)
        drawn = []
        for candidates in (users, batch.positive.unique()):
            rows = sample_rows(candidates, self.contrast_nodes, self.generator)
            drawn.append(candidates if rows is None else candidates[rows])
        return tuple(drawn)

    def alignment(self, *parts: tuple[NodeBands, Tensor]) -> Tensor:
        """Q: InfoNCE between modalities, per band, over the nodes of each part; their sum.

        Averaged over the pairs of modalities; 0 without parts. Shapes: a part's nodes and how often
        each counts, (B,).
        """
        return sum((self._infonce(nodes.slots, once) for nodes, once in parts),
                   self.E_user.new_zeros(()))

    def _infonce(self, slots: Tensor, once: Tensor) -> Tensor:
        """Shapes: slots (M, C, B, d); once (B,)."""
        parts = slots.unbind(1)  # of every modality (M, B, d), ids first
        losses = [
            cross_modal_infonce(a, b, once, temperature=self.temperature, exclude_self=True)
            for a, b in combinations(parts if self.contrast_ids else parts[1:], 2)
        ]
        return torch.stack(losses).mean()

    # The loss

    def draw(self, interaction) -> SSRStep:
        """Draw the nodes to align, then modalities to drop, then bands to mask, on the CPU."""
        batch = self.batch(interaction)
        pairs = Pairs.of(batch, self.objective.all_items)
        aligned = self._aligned_nodes(batch)
        step = SSRStep(
            batch, pairs, aligned,
            once=aligned and tuple(torch.ones(len(rows)) for rows in aligned),
            modality_masks=self._modality_masks(len(batch.users), len(batch.items)),
            band_masks=self._band_masks(len(batch.users), len(pairs.items)),
        )
        return on_device(step, batch.users.device)

    def padded(self, drawn: SSRStep) -> SSRStep:
        return drawn.padded(self.objective.all_items, self.contrast_nodes, self.mask_scope)

    @classmethod
    def why_no_fixed_steps(cls, config) -> str | None:
        masked = config["mask_rate"] and config["consistency_weight"]
        if config["consistency"] == "distributions" and masked:
            return "consistency distributions is a mean over the distinct users of a batch"
        return super().why_no_fixed_steps(config)

    def loss(self, step: SSRStep) -> SSRLoss:
        batch, pairs = step.batch, step.pairs
        every = self.objective.all_items
        user, item = self.spectra(batch.users, None if every else batch.items)
        aligned = [(side.at(rows), once) for side, rows, once in
                   zip((user, item), step.aligned or (), step.once or ())]
        users, items = (
            before_fusion(fusion, side, by_modality=self.modality_dropout > 0)
            for fusion, side in ((self.user_fusion, user), (self.item_fusion, item))
        )
        items, of_pairs = items.with_part(pairs.items) if every else (items, items)
        of_user, of_item = step.modality_masks or (None, None)
        embedded = Embeddings(users.embed(of_user), items.embed(of_item))  # (Bu, d), (Bi, d)
        bias = None if self.b is None else self.b.index_select(0, batch.items)  # (Bi,)
        return SSRLoss(
            ranking=self.ranking_loss(*embedded, batch=batch, item_bias=bias),
            consistency=self.consistency_weight * self.consistency(
                pairs, self._masks_of_slots(step), users, of_pairs, full=embedded, bias=bias),
            alignment=self.contrast_weight * self.alignment(*aligned),
            l2=self.l2_weight * self.l2(batch),
        )

    def l2(self, batch: Batch) -> Tensor:
        """Half the squared norm of the ego embeddings of the batch's pairs, mean over its size."""
        ids = batch.positive if self.objective.all_items else torch.cat(
            [batch.positive, batch.negative]
        )
        user = self.E_user.index_select(0, batch.users).square().sum(1)  # (Bu,)
        item = self.E_item.index_select(0, batch.items).square().sum(1)  # (Bi,)
        total = (user @ counts(batch.user, batch.users)) + item @ counts(ids, batch.items)
        return total / (2 * len(batch.user))

    # Evaluation

    def encode(self, keep: Tensor | None = None) -> Embeddings:
        """Embed all nodes; with `keep` (M, C) or (1, C) of 0 and 1, from these slots only.

        Slots are weighted by :meth:`evaluation_gains`. In training an interaction is part of the
        graph that predicts it, in evaluation never, so that training overrates the bands which
        tell neighbours from others; what to take back is known to validation alone. Items
        without interactions have what their neighbours contribute, too; see unseen_items.py.
        """
        gains, of_new = (
            (g if keep is None else g * keep.to(g)).unsqueeze(0)  # (1, M, C)
            for g in self.evaluation_gains())
        of_users, of_items = self.spectra()
        user, item = self.fuse(of_users, of_items, keep=(gains, gains))  # (U, d), (I, d)
        new = self.unseen["items"]  # (n,)
        if len(new):
            own = fused(self.item_fusion, of_items.at(new), of_new)  # (n, d)
            item = item.index_copy(0, new, own + csr_product(self.unseen["near"], item))
        return Embeddings(*self.objective.scored(user, item, self._evaluation_bias()))

    def _evaluation_bias(self) -> Tensor | None:
        """Return what is added to the logits of items, None without a bias. Shapes: (I,)."""
        if not self.bias_channels:
            return None
        # What has no interactions keeps its score: how popular it is is not known.
        known = torch.where(self.item_users > 0, self._log_popularity(), 0.0)
        discount = self.popularity_discount * known
        if self.b is None:
            return -discount
        degree = self.item_users.long()
        every = torch.arange(int(degree.max()) + 1, device=degree.device)
        by_degree = octaves(every, len(self.popularity)) @ self.popularity
        return self.bias_gain * self.b + by_degree[degree] - discount

    def evaluation_gains(self) -> tuple[Tensor, Tensor]:
        """Return what slots are multiplied with in evaluation alone: those of nodes with
        interactions, and of items without. Shapes: (M, C) each.
        """
        of_new = self.constants["inference_gains"][:, None].expand_as(self.gains)
        return of_new * self.gains, of_new

    @torch.no_grad()
    def linear_fusion(
        self, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[LinearFusion, LinearFusion]:
        """Return the embeddings of :meth:`encode`, but the bias, of some nodes as sums over slots.

        Shapes: users (Bu,), items (Bi,) distinct ids, None for all.
        """
        user, item = self._linear_fusion(users, items)
        if self.objective.cosine:
            user, item = user.unit(), item.unit()
        return user, item

    def _linear_fusion(
        self, users: Tensor | None, items: Tensor | None
    ) -> tuple[LinearFusion, LinearFusion]:
        gains, of_new = (g.unsqueeze(0) for g in self.evaluation_gains())  # (1, M, C)
        new, sources = self.unseen["items"], self.unseen.with_neighbours(items)
        by_item = gains
        if len(new):
            by_item = gains.repeat(self.n_items, 1, 1)  # (I, M, C)
            by_item[new] = of_new
            by_item = select(by_item, sources)
        sides = zip((self.user_fusion, self.item_fusion), self.spectra(users, sources),
                    (gains, by_item))
        user, item = (
            LinearFusion(x.slots, fusion.coefficients(x.slots, x.facts, keep=x.factors(keep)))
            for fusion, x, keep in sides
        )
        return user, self.unseen.added_to(item, items)

    @torch.no_grad()
    def score_bias(self) -> Tensor:
        """Return what the bias of every item adds to its scores. Shapes: (I,)."""
        bias = self._evaluation_bias()
        if bias is None:
            return self.E_item.new_zeros(self.n_items)
        return bias / self.objective.logit_scale

    # Calibration, after training

    @torch.no_grad()
    def calibrate(
        self, users: Tensor, items: Tensor, repeatable: bool = False,
        left_out: Tensor | None = None,
    ) -> Calibration | None:
        """Fit the gains of evaluation to held-out interactions, and take them over.

        Items without interactions keep gains of 1. None where no held-out interaction is of an item
        that has others and new to its user. Shapes: users, items (P,); left_out (2, S), pairs that
        rankings leave out though the graph does not have them.
        """
        self.drop_calibration()
        sample = held_out_sample(self.graph, users, items, repeatable, left_out)
        if sample is None:
            return None
        user, item = self._linear_fusion(sample.users, sample.items)
        popularity = octaves(self.item_users[sample.items], len(self.popularity))  # (n, K)
        bias = self.b
        if bias is None:
            bias, popularity = self.E_item.new_zeros(self.n_items), torch.zeros_like(popularity)
        fitted = calibration(
            user.parts(), item.parts(), bias[sample.items], popularity, sample.held_out,
            logit_scale=self.objective.logit_scale, cosine=self.objective.cosine,
            prior=self.calibration_prior,
        )
        self.gains.copy_(fitted.gains)
        self.bias_gain.copy_(fitted.bias)
        self.popularity.copy_(fitted.popularity)
        self.drop_encoded()
        return fitted

    @contextmanager
    def uncalibrated(self) -> Iterator[None]:
        """Evaluate without the gains of calibration for a while."""
        buffers = self.gains, self.bias_gain, self.popularity
        fitted = [buffer.clone() for buffer in buffers]
        self.drop_calibration()
        try:
            yield
        finally:
            for buffer, value in zip(buffers, fitted):
                buffer.copy_(value)
            self.drop_encoded()

    def drop_calibration(self) -> None:
        """Set the gains of calibration back to 1, what popularity adds to 0."""
        for buffer in (self.gains, self.bias_gain):
            buffer.fill_(1)
        self.popularity.zero_()
        self.drop_encoded()
