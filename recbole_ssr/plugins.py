"""Models, metrics, filter banks and dataset recipes of other packages.

Each is a class or function in a file of its own, which registers itself where it is defined; its
settings, with their types and docs, lie in a yaml of its name beside that file, written as those in
properties/. A package names the modules to import under the entry point `recbole_ssr.plugins`;
without a package $RECBOLE_SSR_PLUGINS does, separated by commas. Every process that imports
recbole_ssr imports them. A model and a metric are in docs/guide/extending.md; a
bank and a recipe are::

    from dataclasses import replace
    from recbole_ssr.dataset_prep.own import prepare_own
    from recbole_ssr.plugins import register_bank, register_recipe
    from recbole_ssr.spectral.polynomial import ChebyshevBank

    @register_bank("eight")  # recbole-ssr --band_filter=eight --n_bands=8
    def eight(config, graph):
        return ChebyshevBank(graph, 8, config["cheb_degree"], config["cheb_fit"])

    @register_recipe("zoo")  # recbole-ssr prepare zoo
    def zoo(options):
        return prepare_own(replace(options, interactions="zoo.csv"))
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np
from recbole.evaluator import register as host
from recbole.evaluator.base_metric import TopkMetric
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_ssr import registry
from recbole_ssr.contributions import BANKS, RECIPES, contribute
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.user_metrics import METRICS

logger = logging.getLogger("recbole_ssr")

GROUP, VARIABLE = "recbole_ssr.plugins", "RECBOLE_SSR_PLUGINS"


def register_model(model: type) -> type:
    """Make a class a model by its name, as :func:`recbole_ssr.registry.register` says.

    MODEL.yaml beside its file has the settings, MODEL.PROFILE.yaml those of a profile. Raises
    UserError for what is no RecBole model, and for a name that is taken.
    """
    if not (isinstance(model, type) and issubclass(model, AbstractRecommender)):
        raise UserError("register_model takes a class that derives from a RecBole model, as "
                        "recbole_ssr.model.base.MultimodalRecommender does, which is not so of "
                        f"{model!r}.")
    registry.register(model.__name__, sys.modules[model.__module__], model)
    return model


def register_metric(values: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable:
    """Make a function of single users a metric by its name, larger being better.

    `metrics` takes it; tests over users, groups and tables know it as name@k in small letters.

    Shapes: hits (n, k) bool, best first; positives (n,), the relevant items, at least 1; result
    (n,). Raises UserError for a name that is taken.
    """
    name = values.__name__.lower()
    if name in host.metrics_dict:
        raise UserError(f"There is a metric {values.__name__!r} already. Choose another name.")

    def calculate_metric(self, dataobject) -> dict[str, float]:
        hits, positives = self.used_info(dataobject)
        return {f"{name}@{k}": round(float(_of_users(values, hits[:, :k], positives).mean()),
                                     self.decimal_place) for k in self.topk}

    metric = type(values.__name__, (TopkMetric,),
                  {"__doc__": values.__doc__, "calculate_metric": calculate_metric})
    host.metrics_dict[name], METRICS[name] = metric, values
    host.metric_information[name], host.metric_types[name] = metric.metric_need, metric.metric_type
    return values


def _of_users(values: Callable, hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    result = np.asarray(values(hits, positives))
    if result.shape != positives.shape:
        raise UserError(f"The metric {values.__name__} must return a value for each of the "
                        f"{len(positives):,} users, shape {positives.shape}; it returned the shape "
                        f"{result.shape}.")
    return result


def register_bank(name: str) -> Callable[[Callable], Callable]:
    """Make a function of config and graph, which returns a FilterBank, a value of `band_filter`.

    NAME.yaml beside its file has further settings of the runs that choose it. Raises UserError for
    a name that is taken.
    """
    registry.keys_of_any_model.cache_clear()
    return contribute(BANKS, name)


def register_recipe(name: str) -> Callable[[Callable], Callable]:
    """Make a function of :class:`recbole_ssr.dataset_prep.options.Options` the recipe of a dataset.

    It writes the dataset and returns its folder. NAME.yaml beside its file has the options under
    `prepare`, and settings of every run on the dataset. Raises UserError for a name that is taken.
    """
    if (registry.properties_folder() / "dataset" / f"{name}.yaml").is_file():
        raise UserError(f"There is a dataset {name!r} already. Choose another name.")
    registry.keys_of_any_model.cache_clear()
    return contribute(RECIPES, name)


def load() -> None:
    """Import all plugins; one that cannot be imported is warned of and left out."""
    modules = {point.value: point.name for point in entry_points(group=GROUP)}
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for module in dict.fromkeys([*modules, *named]):
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            logger.warning("the plugin %s cannot be loaded and is left out: %s: %s", module,
                           type(error).__name__, error)
