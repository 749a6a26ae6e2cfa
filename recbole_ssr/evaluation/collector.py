"""Collecting what full-ranking metrics need, without a dense users x items matrix of positives."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from recbole.evaluator.collector import Collector, DataStruct

from recbole_ssr.distributed.group import rows_of_all
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.data_struct import COLLECTED, take_data_struct
from recbole_ssr.evaluation.rankings import Ranking

_RANKING = ("rec.items", "rec.topk")


class FullRankingCollector(Collector):
    """Drop-in for RecBole's Collector: the same resources from less time and memory.

    Beyond the stock ones it collects ``rec.users``, int64 of shape (users,), row by row as
    ``rec.topk``, wherever the batches carry ``USER_ID_FIELD``. With `keep_ranking` set, for
    full ranking only, it keeps who was recommended what for :meth:`take_ranking`. With
    `of_all_processes` set, each of them collects other users, and all get what all have.
    """

    def __init__(self, config: Any):
        super().__init__(config)
        self._wanted = {key for key in _RANKING if self.register.need(key)}
        for key in self._wanted:
            # This class collects them; the stock method, which does the rest, must not again.
            setattr(self.register, key, False)
        self._batches: dict[str, list[torch.Tensor]] = {}
        self.keep_ranking = self.of_all_processes = False
        self._ranking: Ranking | None = None

    def data_collect(self, train_data: Any) -> None:
        """Collect what metrics read of the training data, with a knowledge graph as well."""
        # RecBole reads `dataset`, which its loader of interactions and triples does not have.
        super().data_collect(SimpleNamespace(dataset=train_data._dataset))

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor,
        interaction: Any,
        positive_u: torch.Tensor,
        positive_i: torch.Tensor,
    ) -> None:
        """Collect one batch.

        Shapes: scores_tensor (users, items), or (pairs,) for value metrics; positive_u and
        positive_i (positives,), the row and the item of each; a pair listed twice counts once.

        Raises:
            UserError: a score is NaN, which would rank first.
        """
        if self._wanted:
            self._collect_ranking(scores_tensor, positive_u, positive_i)
            self._collect_users(interaction, len(scores_tensor))
        else:
            pairs = scores_tensor.view(len(scores_tensor), -1)
            _check_scores(pairs.isnan().any(1), "users" if scores_tensor.dim() > 1 else "pairs")
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)

    def _collect_ranking(
        self, scores: torch.Tensor, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        best, items = torch.topk(scores, max(self.topk), dim=-1)
        # topk puts NaN first, so the first column knows all rows that hold one.
        _check_scores(best[:, 0].isnan(), "users")
        if "rec.items" in self._wanted or self.keep_ranking:
            # Lists of users with few items left end early, instead of with what is masked.
            self._append("rec.items", items.masked_fill(best == -torch.inf, 0))
        if "rec.topk" in self._wanted:
            hits, positives = match_positives(items, positive_u, positive_i, scores.shape[1])
            self._append("rec.topk", torch.cat((hits, positives.unsqueeze(1)), dim=1))

    def _collect_users(self, interaction: Any, n_rows: int) -> None:
        field = self.config["USER_ID_FIELD"]
        if interaction is None or field not in interaction:
            return
        users = interaction[field]
        if len(users) != n_rows:
            # Sampled ranking repeats a user once per candidate, users one after the other.
            users = torch.unique_consecutive(users)
        if len(users) != n_rows:
            raise UserError(
                f"a batch ranks {n_rows} rows for {len(users)} users in {field!r}: the records of "
                "a user must be consecutive."
            )
        self._append("rec.users", users)

    def _append(self, name: str, value: torch.Tensor) -> None:
        self._batches.setdefault(name, []).append(value.detach())

    def get_data_struct(self) -> DataStruct:
        """Return everything collected, tensors on the CPU, and start anew."""
        for name, batches in self._batches.items():
            self.data_struct.set(name, torch.cat(batches))
        if self.of_all_processes:
            for name in (*COLLECTED, "rec.users"):
                if name in self.data_struct:
                    self.data_struct.set(name, rows_of_all(self.data_struct.get(name)))
        if self.keep_ranking and {"rec.users", "rec.items"} <= self._batches.keys():
            self._ranking = _ranking_of(self.data_struct)
        self._batches = {}
        return take_data_struct(self.data_struct, (*COLLECTED, "rec.users"))


    def take_ranking(self) -> Ranking | None:
        """Return the ranking of the last evaluation, once; None where it kept none.

        There is none either where a user was ranked more than once.
        """
        ranking, self._ranking = self._ranking, None
        return ranking


def _check_scores(broken: torch.Tensor, of: str) -> None:
    """Raise UserError where a score is NaN. Shapes: broken (B,) bool."""
    n = int(broken.sum())
    if n:
        raise UserError(f"the model scored NaN for {n} of {len(broken)} {of} in a batch: lower "
                        "learning_rate, or check the features for NaN.")


def _ranking_of(struct: DataStruct) -> Ranking | None:
    users, items = (struct.get(name).cpu().numpy().astype(np.int32)
                    for name in ("rec.users", "rec.items"))
    order = np.argsort(users)
    users = users[order]
    return Ranking(users, items[order]) if (np.diff(users) > 0).all() else None


def match_positives(
    items: torch.Tensor, positive_u: torch.Tensor, positive_i: torch.Tensor, n_items: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which of the ranked `items` are positive, and how many positives each row has.

    Shapes: items (B, K); positive_u, positive_i (P,); returns int64 (B, K) of 0 and 1, and (B,).
    """
    n_rows = len(items)
    row = torch.arange(n_rows, device=items.device).unsqueeze(1)
    # One integer per (row, item), so that membership is a binary search among P numbers.
    pairs = positive_u.to(items.device).long() * n_items + positive_i.to(items.device)
    pairs = torch.unique(pairs)
    positives = torch.bincount(pairs // n_items, minlength=n_rows)
    if len(pairs) == 0:
        return torch.zeros_like(items), positives
    ranked = row * n_items + items
    at = torch.searchsorted(pairs, ranked).clamp_(max=len(pairs) - 1)
    return (pairs[at] == ranked).long(), positives
