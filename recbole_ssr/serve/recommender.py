"""Recommendations of a finished run. Users and items go by their tokens.

.. code-block:: python

    recommender = recbole_ssr.load("runs/ml-100k-SSR-20261124-101500")
    recommender.recommend(["196", "22"], k=10)      # a DataFrame: user, item, rank, score
    recommender.similar_items("50")
    recommender.score("196", ["50", "181"])
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr import runs
from recbole_ssr.data.ids import tokens_of
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.experiment import Experiment
from recbole_ssr.inference import set_discount
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.closed_form import ClosedForm
from recbole_ssr.quick_start import load_run
from recbole_ssr.serve.catalogue import Catalogue, named
from recbole_ssr.serve.fold_in import folded_in
from recbole_ssr.serve.new_items import NewItems
from recbole_ssr.serve.ranking import Audience, best_of, ranked
from recbole_ssr.serve.scores import EmbeddingScores, Scores, embeddings_of, scores_of

if TYPE_CHECKING:
    from recbole_ssr.report.explanation.record import Explanation

logger = logging.getLogger("recbole_ssr")

UNKNOWN = ("error", "popularity")


class Recommender:
    """A finished run, ready to recommend.

    `new_items` is a folder of features of items that the run has never seen, which are ranked
    among the others.
    """

    def __init__(self, experiment: Experiment, run: Path, new_items: str | Path | None = None):
        self.experiment, self.run = experiment, run
        self.as_measured = True  # whether its rankings are those of the run's metrics
        self.new = None if new_items is None else NewItems(experiment, new_items)
        self.catalogue = Catalogue.of(experiment, self.new.tokens if self.new else ())
        self.scores = self._with_new(scores_of(experiment))

    def _with_new(self, scores: Scores) -> Scores:
        return self.new.behind(scores) if self.new else scores

    @property
    def users(self) -> np.ndarray:
        """Tokens of all users of the run."""
        return self.catalogue.users[1:]

    @property
    def items(self) -> np.ndarray:
        """Tokens of all items that are ranked."""
        return self.catalogue.items[1:]

    def recommend(self, users: str | Sequence[str] | None = None, k: int = 20, **options
                  ) -> pd.DataFrame:
        """Return the k best items of users, all of them where None is given.

        Options are those of :meth:`blocks`. Columns: user, item (tokens), rank (from 1), score;
        fewer than k rows for a user who has seen almost everything.
        """
        blocks = list(self.blocks(users, k, **options))
        return pd.concat(blocks, ignore_index=True)

    def blocks(
        self, users: str | Sequence[str] | None = None, k: int = 20, *, keep_seen: bool = False,
        hide_test: bool = False, candidates: Sequence[str] | None = None,
        where: Mapping[str, object] | None = None,
        history: Mapping[str, Sequence[str]] | None = None, unknown: str = "error",
    ) -> Iterator[pd.DataFrame]:
        """Yield recommendations for some users at a time, so that memory does not grow with them.

        Args:
            users: tokens; None for all of the run, or all of `history`.
            k: how many items each.
            keep_seen: rank items that the user has in training or validation, too.
            hide_test: leave out those that the user has in test, too, which are ranked where a run
                is measured.
            candidates: the only items to rank.
            where: field -> value or values that an item must have, from the dataset's .item file.
            history: the items of users, new ones or known, in place of those of training.
            unknown: "error" refuses users that the run does not know, of a closed form also those
                without items in training; "popularity" answers them by the items with most
                training interactions, without a score, as they are where all are asked for.

        Raises:
            UserError: an unknown user, item, field or option, or nothing left to rank.
        """
        k = _at_least_one(k)
        for name, given in (("keep_seen", keep_seen), ("hide_test", hide_test)):
            if not isinstance(given, (bool, np.bool_)):  # "no" would count as true
                raise UserError(f"{name} is {given!r}; give True or False")
        if hide_test and (keep_seen or history is not None):
            raise UserError("hide_test leaves out what the run's files have of a user: drop it, or "
                            + ("keep_seen, which ranks that" if keep_seen else
                               "history, which takes the place of that"))
        if unknown not in UNKNOWN:
            raise UserError(f"unknown is {unknown!r}; choose error or popularity."
                            f"{nearest(unknown, UNKNOWN)}")
        audience = self._audience(users, history, unknown)
        if hide_test:
            audience = audience._replace(seen=audience.seen + self.catalogue.tested)
        items = self._candidates(candidates, where)
        return ranked(audience, self.catalogue, k, items, keep_seen)

    def similar_items(self, item: str, k: int = 20) -> pd.DataFrame:
        """Return the k items most similar to an item: columns item, rank, score.

        By the cosine of the final embeddings, without biases; a closed form says what the item
        alone brings up.
        Raises UserError for an unknown item, a k below 1 and a model without either.
        """
        k = _at_least_one(k)
        i = self.catalogue.item_id(item)
        if isinstance(self.experiment.model, ClosedForm):
            if i >= self.catalogue.first_new:
                raise UserError(f"{self.experiment.config['model']} says what goes with an item by "
                                "the interactions of training, and the new item "
                                f"{str(item)!r} has none")
            similarity = self._folded_in(np.zeros(1, int), np.array([i]), np.zeros(1, int))
            similarity = similarity.block(torch.tensor([0]))[0]
        else:
            item = self.embeddings().item
            alike = item.shape[1] - getattr(self.experiment.model, "bias_channels", 0)
            embeddings = F.normalize(item[:, :alike], dim=1)
            similarity = embeddings @ embeddings[i]
        similarity[[0, i]] = -torch.inf
        values, ids = (x[0] for x in best_of(similarity[None], min(k, len(self.items) - 1)))
        return pd.DataFrame({"item": self.catalogue.items[ids.cpu().numpy()],
                             "rank": np.arange(1, len(ids) + 1), "score": values.cpu().numpy()})

    def score(self, user: str, items: str | Sequence[str]) -> np.ndarray:
        """Return a user's scores of items. Shapes: items (n,) tokens; result (n,) float32."""
        ids = torch.tensor([self.catalogue.item_id(token) for token in tokens_of(items)],
                           dtype=torch.long)
        users = torch.tensor([self.catalogue.user_id(user)])
        return self.scores.block(users, ids)[0].cpu().numpy()

    def explain(self, user: str, item: str) -> Explanation:
        """Return why a user gets an item, see :func:`recbole_ssr.serve.explain.explain`."""
        from recbole_ssr.serve.explain import explain

        return explain(self, user, item)

    def embeddings(self) -> Embeddings:
        """Return what scores are inner products of, padding in row 0. Shapes: (U, D), (I, D).

        Raises UserError for a model whose scores are no inner products.
        """
        user, item = embeddings_of(self.experiment)
        return Embeddings(user, self._with_new(EmbeddingScores(user, item)).item)

    def knows(self, users: np.ndarray) -> np.ndarray:
        """Tell of which users anything is known: of a closed form's, items in training.

        Shapes: users (n,) ids, 0 for others than the run's; result (n,) bool.
        """
        model = self.experiment.model
        if isinstance(model, ClosedForm):
            return model.history["R"].crow_indices().diff().cpu().numpy()[users] > 0
        return users > 0

    def _audience(self, users, history, unknown: str) -> Audience:
        if users is not None:
            users = tokens_of(users)
        if not (history is None or isinstance(history, Mapping)):
            raise UserError(f"history is a {type(history).__name__}; give the items of every user, "
                            '{"user": ["item", "item"]}')
        if users == [] or history == {}:
            raise UserError("nobody is named; give at least one user")
        if history is not None:
            return self._joining(users, history, unknown)
        tokens = self.users if users is None else np.array(users, dtype=str)
        ids = self.catalogue.user_ids(tokens)
        known = self.knows(ids)
        # Whoever asks for all users has named nobody who could be left out.
        self._check_unknown(tokens[~known], "popularity" if users is None else unknown,
                            "give their items with history")
        return Audience(tokens, ids, self.scores, self.catalogue.seen, known)

    def _joining(self, users, history: Mapping[str, Sequence[str]], unknown: str) -> Audience:
        history = {str(user): items for user, items in history.items()}
        tokens = list(history if users is None else users)
        missing = [token for token in tokens if token not in history]
        if missing:
            raise UserError(f"history has no items of {named(missing)}; add them, or name only "
                            "users that it has")
        known = [self.catalogue.item_ids(history[token]) for token in tokens]
        lost = sum(int((ids == 0).sum()) for ids in known)
        if lost:
            logger.warning("%s of %s items in the histories are not in the run and left out",
                           f"{lost:,}", f"{sum(map(len, known)):,}")
        known = [ids[ids > 0] for ids in known]
        users_of = np.repeat(np.arange(len(known)), [len(ids) for ids in known])
        items_of = np.concatenate([*known, np.zeros(0, np.int64)])
        empty = np.array([not len(ids) for ids in known], dtype=bool)
        self._check_unknown([t for t, e in zip(tokens, empty) if e], unknown,
                            "give items that the run knows")
        scores = self._folded_in(users_of, items_of, self.catalogue.user_ids(tokens))
        seen = sp.csr_matrix((np.ones(len(items_of), np.float32), (users_of, items_of)),
                             (len(known), len(self.catalogue.items)))
        return Audience(np.array(tokens, dtype=str), np.arange(len(known)), scores, seen, ~empty)

    def _folded_in(self, users: np.ndarray, items: np.ndarray, source: np.ndarray) -> Scores:
        if (items >= self.catalogue.first_new).any():
            raise UserError("a history names new items, over which nothing was propagated in "
                            "training; leave them out of the histories")
        scores = folded_in(self.experiment, *map(torch.from_numpy, (users, items, source)))
        return self._with_new(scores)

    def _check_unknown(self, users: Sequence[str], unknown: str, remedy: str) -> None:
        if not len(users):
            return
        if unknown == "error":
            raise UserError(f"nothing is known of {len(users):,} of the users: {named(users)}; "
                            f"correct them, {remedy}, or answer them by popularity "
                            "(unknown=popularity)")
        logger.warning("nothing is known of %s, who are answered by popularity", named(users))

    def _candidates(self, candidates, where) -> Tensor | None:
        """Return the ids of the items to rank, None for all."""
        keep = np.ones(len(self.catalogue.items), dtype=bool)
        if candidates is not None:
            candidates = tokens_of(candidates)
            ids = self.catalogue.item_ids(candidates)
            lost = [token for token, i in zip(candidates, ids) if not i]
            if lost:
                raise UserError(f"the run knows no items {named(lost)}; leave them out of the "
                                "candidates")
            keep &= np.isin(np.arange(len(keep)), ids)
        if not (where is None or isinstance(where, Mapping)):
            raise UserError(f"where is {where!r}; give values of fields, "
                            '{"class": "Comedy"}')
        if where:
            keep &= self.catalogue.table.matching(where)
        keep[0] = False
        if not keep.any():
            raise UserError("no item is left to rank; give other candidates or another filter")
        return None if keep[1:].all() else torch.from_numpy(np.flatnonzero(keep))


def load(run: str | Path, device: str = "auto", new_items: str | Path | None = None,
         data_path: str | Path | None = None,
         popularity_discount: float | None = None) -> Recommender:
    """Return the recommender of a run folder: its best epoch, ready to score.

    `new_items` is a folder of features, `<modality>.npy` and `.tokens`, of items to rank that the
    run has never seen. `data_path` names the folder of datasets where they have moved since the
    run. `popularity_discount` takes the place of SSR's setting of that name: above 0 rare items
    get room. Raises UserError where a folder cannot be used or the model has no such setting.
    """
    folder = runs.existing(run)
    with runs.quiet_host(), torch.no_grad():
        experiment = load_run(folder, device, data_path=data_path)
        own = getattr(experiment.model, "popularity_discount", None)
        if popularity_discount is not None:
            set_discount(experiment, popularity_discount)
        recommender = Recommender(experiment, folder, new_items)
        recommender.as_measured = new_items is None and popularity_discount in (None, own)
        return recommender


def _at_least_one(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise UserError(f"k is {k!r}; ask for at least 1 item")
    return int(k)
