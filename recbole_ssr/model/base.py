"""What every multimodal recommender of this package shares."""

from __future__ import annotations

from typing import NamedTuple

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.objectives import OBJECTIVES, Objective, make_objective, shown_to

PAPER = "paper"  # the objective of the model's own paper
ID = "id"  # the modality that every item has: its own embedding


class Embeddings(NamedTuple):
    """Final embeddings whose inner products are the scores.

    Shapes: user (U, D); item (I, D).
    """

    user: Tensor
    item: Tensor


class MultimodalRecommender(GeneralRecommender):
    """Base of the package's models: encode all nodes, score by inner product.

    A subclass writes :meth:`encode` and :meth:`calculate_loss`, whose ranking part is
    :meth:`ranking_loss` where its yaml names an objective. Embeddings are computed once per
    evaluation and dropped whenever the parameters may change: on `train()` and on loading.
    """

    input_type = InputType.PAIRWISE
    paper_objective: str | None = None  # what `objective: paper` stands for
    reads_negatives = False  # whether the loss has a part with negatives beside the objective
    # The parameters with a row per user, where a user's embedding follows from these rows and the
    # user's row of `graph` alone, so that new users can be folded in; None where it does not.
    user_tables: tuple[str, ...] | None = None
    # Whether that embedding is affine in both, so that a user's items add up to it.
    affine_users = False
    # Whether an item without interactions has an embedding by its features.
    embeds_new_items = False
    needs_features = True  # of the items
    # How many of the last channels of final embeddings hold an item's bias, not what it is like.
    bias_channels = 0
    # Buffers that checkpoints of earlier versions lack: they are as in a new model there.
    newer_state: tuple[str, ...] = ()
    # Buffers that checkpoints of earlier versions have, and that are not read any more.
    older_state: tuple[str, ...] = ()

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        train = dataset.inter_feat
        self.graph = BipartiteGraph(train[self.USER_ID], train[self.ITEM_ID], self.n_users,
                                    self.n_items)
        degree = torch.bincount(train[self.ITEM_ID], minlength=self.n_items)
        self._degrees = Constants(item=degree.float())
        self.objective = objective_of(config, self.paper_objective)
        self._set_shown(config, train[self.USER_ID], train[self.ITEM_ID])
        # Drawn on the CPU on every device, and part of the state, so that a run resumes exactly.
        self.generator = torch.Generator().manual_seed(config["seed"])
        self._encoded: Embeddings | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.drop_encoded())

    def _set_shown(self, config, users: Tensor, items: Tensor) -> None:
        negatives = config["train_neg_sample_args"] or {}
        power = negatives["alpha"] if negatives.get("distribution") == "popularity" else 0.0
        shown = self.objective and shown_to(self.objective, users, items, self.item_degree,
                                            config["sampling_power"] or 0.0, power)
        self._shown = None if shown is None else Constants(item=shown)

    def before_training(self, held_out: Tensor) -> None:
        """Called by the trainer before the first epoch, where the setting `calibrate` is True.

        Shapes: held_out (P,) items of the interactions of validation.
        """

    def begin_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch, counted from 0."""

    def encode(self) -> Embeddings:
        """Compute the embeddings of all users and items."""
        raise NotImplementedError

    def draw(self, interaction) -> Batch:
        """Return all of a step that is random or whose shape follows from the data.

        On the device of `interaction`.
        """
        return self.batch(interaction)

    def padded(self, drawn: Batch) -> Batch:
        """Return what was drawn in shapes that follow from the number of interactions alone."""
        return drawn.padded(self.objective is not None and self.objective.all_items)

    def loss(self, drawn: Batch) -> tuple[Tensor, ...]:
        """Return the weighted parts of the loss, without waiting for the device.

        A model that writes it, instead of calculate_loss, may be captured: settings cuda_graph.
        """
        raise NotImplementedError

    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        return self.loss(self.draw(interaction))

    @classmethod
    def why_no_fixed_steps(cls, config) -> str | None:  # noqa: ARG003
        """Return why not all steps of one size can have the same shapes; None where they can."""
        if cls.calculate_loss is not MultimodalRecommender.calculate_loss:
            return f"{cls.__name__} draws while it computes"
        return None

    def batch(self, interaction) -> Batch:
        """Return the batch's distinct nodes, all items where the objective needs them.

        Without negatives in `interaction` it has none; UserError where the loss needs them.
        """
        positives = interaction[self.ITEM_ID]
        triples = interaction[self.USER_ID], positives, self._negatives(interaction, positives)
        if self.objective is not None and self.objective.all_items:
            return Batch.of_all_items(*triples, self.n_items)
        return Batch.of(*triples)

    def _negatives(self, interaction, positives: Tensor) -> Tensor:
        if self.NEG_ITEM_ID in interaction:
            return interaction[self.NEG_ITEM_ID]
        if self.objective is None or self.objective.needs_negatives or self.reads_negatives:
            loss = f"objective {self.objective.name}" if self.objective else "paper's objective"
            raise UserError(f"train_neg_sample_args is null, but {type(self).__name__} with the "
                            f"{loss} needs negatives: leave train_neg_sample_args out, or choose "
                            "an objective without, such as in_batch_softmax")
        return positives[:0]

    def ranking_loss(
        self, user: Tensor, item: Tensor, batch: Batch, item_bias: Tensor | None = None
    ) -> Tensor:
        """Return the objective of a batch.

        Shapes: user (Bu, D), item (Bi, D) embeddings of batch.users and batch.items; item_bias
        (Bi,); result ().
        """
        shown = None if self._shown is None else self._shown["item"]
        return self.objective(user, item, batch, self.item_degree, item_bias, shown)

    def receivers_added(self, rows: Tensor) -> None:
        """Take in users that joined the graph and the tables; see model/receivers.py.

        A model overrides it that keeps more of a user. Shapes: rows (n, I) CSR.
        """

    def items_added(self, n_known: int) -> None:
        """Take items from id `n_known` on as new ones, that the model was not trained on.

        A model overrides it that standardises over all items.
        """

    def trained_features(self) -> list[Tensor]:
        """Return the raw features that are parameters, one per modality in the dataset's order.

        Empty where the model keeps them as they are. Shapes: (I, f) each.
        """
        parts = [getattr(module, "trained_rows", None) for module in self.modules()]
        return [part for part in parts if part is not None]

    @property
    def item_degree(self) -> Tensor:
        """Training interactions of every item. Shapes: (I,)."""
        return self._degrees["item"]

    def predict(self, interaction) -> Tensor:
        """Score the pairs of `interaction`. Shapes: result (B,)."""
        user, item = self.final_embeddings()
        return (user[interaction[self.USER_ID]] * item[interaction[self.ITEM_ID]]).sum(1)

    def full_sort_predict(self, interaction) -> Tensor:
        """Score every item for the users of `interaction`. Shapes: result (B * I,)."""
        user, item = self.final_embeddings()
        return (user[interaction[self.USER_ID]] @ item.T).view(-1)

    @torch.no_grad()
    def final_embeddings(self) -> Embeddings:
        """Return what scores are inner products of, kept between calls in evaluation mode."""
        if self.training:
            return self.encode()
        if self._encoded is None:
            # An embedding may be a parameter itself, which no_grad leaves as it is.
            self._encoded = Embeddings(*(side.detach() for side in self.encode()))
        return self._encoded

    def use_embeddings(self, embeddings: Embeddings) -> None:
        """Score with these embeddings, in evaluation mode, until the parameters may change.

        So a variant of the model, without one band for instance, meets the same evaluation.
        :meth:`drop_encoded` ends it.
        """
        self._encoded = embeddings

    def drop_encoded(self) -> None:
        """Forget the embeddings kept for evaluation."""
        self._encoded = None

    def train(self, mode: bool = True):
        if mode:
            self.drop_encoded()
        return super().train(mode)

    def _apply(self, fn, recurse=True):
        self.drop_encoded()
        return super()._apply(fn, recurse)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())


def objective_of(config, paper: str | None = None) -> Objective | None:
    """Build the objective that a configuration names, or None where it names none.

    `paper` is what `objective: paper` stands for: a name, or None for a model that writes its own
    loss. Raises UserError for a wrong name or temperature.
    """
    if "objective" not in config:
        return None
    name = config["objective"]
    if name == PAPER:
        if paper is None:
            return None
        name = paper
    try:
        return make_objective(name, config["ranking_temperature"], config["softmax_candidates"],
                              config["softmax_cosine"])
    except ValueError as error:
        names = (PAPER, *OBJECTIVES)
        hint = "" if name in names else f" {PAPER} is the model's own.{nearest(name, names)}"
        raise UserError(f"{error}.{hint}") from None
