"""What the page of `recbole-ssr browse` shows, as plain values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import torch

from recbole_ssr.errors import UserError
from recbole_ssr.model.ssr import SSR
from recbole_ssr.report.diagnosis.record import band_names
from recbole_ssr.serve.explain import explain
from recbole_ssr.serve.recommender import Recommender
from recbole_ssr.serve.scores import EmbeddingScores

_SHOWN, _LOOKED_AT = 20, 200  # items on the page; items among which a change of rank is told
_OFFERED = 20  # users
_MOST = 10.0  # of a factor


class Browser:
    """A finished run with its bands and modalities at hand. One question at a time."""

    def __init__(self, recommender: Recommender):
        self.recommender, self.model = recommender, recommender.experiment.model
        self._lock = Lock()
        self._changed: tuple[tuple, Recommender] | None = None
        adjustable = isinstance(self.model, SSR) and recommender.new is None
        self.bands = band_names(self.model.bank.n_bands) if adjustable else []
        self.modalities = list(self.model.modalities) if adjustable else []

    def about(self) -> dict:
        """Return what the head of the page says, and what can be moved."""
        config = self.recommender.experiment.config
        return {"model": config["model"], "dataset": config["dataset"],
                "run": self.recommender.run.name, "users": len(self.recommender.users),
                "items": len(self.recommender.items), "bands": self.bands,
                "modalities": self.modalities, "first": str(self.recommender.users[0])}

    def users(self, start: str) -> list[str]:
        """Return some users whose token starts so."""
        return [str(user) for user in self.recommender.users
                if user.startswith(start)][:_OFFERED]

    def user(self, user: str, bands: Sequence[float] = (), modalities: Sequence[float] = ()
             ) -> dict:
        """Return a user's history and recommendations.

        `bands` and `modalities` are factors of SSR's, all 1 as trained; then `moved` tells by how
        many ranks an item rose, None for one that came from far below. Raises UserError for
        another number of factors, and for an unknown user.
        """
        with self._lock, torch.no_grad():
            catalogue = self.recommender.catalogue
            history = catalogue.seen[catalogue.user_id(user)].indices
            trained = self.recommender.recommend(user, _LOOKED_AT)
            before = dict(zip(trained["item"], trained["rank"]))
            best = self._with(bands, modalities).recommend(user, _SHOWN)
            recommended = self._entries(best["item"])
            for entry, rank, score in zip(recommended, best["rank"], best["score"]):
                was = before.get(entry["item"])
                entry |= {"rank": int(rank), "score": float(score),
                          "moved": None if was is None else int(was - rank)}
            return {"history": self._entries(catalogue.items[history]),
                    "recommended": recommended}

    def why(self, user: str, item: str) -> dict:
        """Return the explanation of an item for a user, as trained."""
        with self._lock:
            return asdict(explain(self.recommender, user, item))

    def picture(self, item: str) -> Path | None:
        """Return the file of an item's picture. Raises UserError for an unknown item."""
        self.recommender.catalogue.item_id(item)
        return self.recommender.catalogue.table.picture(item)

    def _entries(self, items: Sequence[str]) -> list[dict]:
        table = self.recommender.catalogue.table
        titles = table.titles(self.recommender.catalogue.item_ids(items))
        return [{"item": str(item), "title": title, "picture": table.picture(item) is not None}
                for item, title in zip(items, titles)]

    def _with(self, bands: Sequence[float], modalities: Sequence[float]) -> Recommender:
        """Return a recommender by the model with its slots scaled, kept until others are asked."""
        key = tuple(bands), tuple(modalities)
        if all(factor == 1 for side in key for factor in side):
            return self.recommender
        for name, chosen, neutral in (("bands", bands, self.bands),
                                 ("modalities", modalities, self.modalities)):
            if len(chosen) != len(neutral) or not all(0 <= x <= _MOST for x in chosen):
                raise UserError(f"{name} are {list(chosen)}; give {len(neutral)} factors from 0 to "
                                f"{_MOST:g}")
        if self._changed is None or self._changed[0] != key:
            device = self.model.graph["R"].device
            factors = torch.outer(*(torch.tensor(side, device=device) for side in key))
            twin = copy.copy(self.recommender)
            twin.scores = EmbeddingScores(*self.model.encode(factors))
            self._changed = key, twin
        return self._changed[1]
