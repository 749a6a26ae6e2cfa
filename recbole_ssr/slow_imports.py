"""What RecBole imports at once and few runs use: here it is imported with its first use."""

from __future__ import annotations

from types import ModuleType

from recbole_ssr.import_hooks import Execute, around_import, postponed

# By the module of RecBole: the package that it imports from, and what it calls of it.
POSTPONED = {
    # With scipy.stats two seconds, for metrics of values: AUC, MAE, RMSE.
    "recbole.evaluator.metrics": ("sklearn.metrics", ("auc", "mean_absolute_error",
                                                      "mean_squared_error")),
    # For RecBole's own runs; ours open theirs when there is something to write.
    "recbole.utils.utils": ("torch.utils.tensorboard", ("SummaryWriter",)),
}


def postpone() -> None:
    """Postpone these imports; to be called before RecBole is imported."""
    for module, (package, names) in POSTPONED.items():
        around_import(module, _load_with(package, names))


def _load_with(package: str, names: tuple[str, ...]):
    def load(module: ModuleType, execute: Execute) -> None:
        with postponed(package, names):
            execute(module)

    return load
