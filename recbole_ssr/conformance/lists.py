"""RecBole's own lists of what it offers, read from its code and its yamls.

Nothing is listed here by hand, so that nothing is forgotten: the words that a function compares a
setting with, the keys of a section of a yaml, the classes of a folder.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import recbole.model
import recbole.sampler
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.evaluator.register import metrics_dict
from recbole.sampler.sampler import AbstractSampler
from recbole.trainer import Trainer

from recbole_ssr.flags import read_config_file
from recbole_ssr.registry import RECBOLE_PROPERTIES

# Sections of RecBole's yaml of datasets whose keys change which data a run sees.
FILTER_SECTIONS = ("Selectively Loading", "Filtering", "Preprocessing", "Benchmark .inter file")


def modes() -> list[str]:
    """Return the evaluation modes; uni and pop are followed by a number."""
    return compared(Config._set_eval_neg_sample_args, "eval_mode")


def splits() -> list[str]:
    """Return the ways to split: RS, LS, TS."""
    return compared(Dataset.build, "split_mode")


def left_out() -> list[str]:
    """Return the values of LS."""
    return compared(Dataset.leave_one_out, "leave_one_mode")


def orders() -> list[str]:
    """Return the orders before a split."""
    return compared(Dataset.build, "ordering_args")


def groups() -> list[str]:
    """Return what a split groups by."""
    return compared(Dataset.build, "group_by")


def distributions() -> list[str]:
    """Return the distributions of negatives."""
    return compared(AbstractSampler.sampling, "distribution")


def learners() -> list[str]:
    """Return the names of the optimisers."""
    return compared(Trainer._build_optimizer, "learner")


def samplers() -> list[str]:
    """Return the classes that draw negatives."""
    return [name for name, kind in vars(recbole.sampler).items()
            if inspect.isclass(kind) and issubclass(kind, AbstractSampler)
            and kind is not AbstractSampler]


def metrics() -> list[str]:
    """Return the metrics by the name of their class."""
    return [kind.__name__ for kind in metrics_dict.values()
            if kind.__module__.startswith("recbole.")]


def filters() -> list[str]:
    """Return the keys that select, filter or change columns and rows."""
    file = RECBOLE_PROPERTIES / "dataset" / "sample.yaml"
    known, keys, inside = read_config_file(file), [], False
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            inside = line[2:].strip() in FILTER_SECTIONS
        elif inside and line.partition(":")[0] in known:
            keys.append(line.partition(":")[0])
    return keys


def models() -> dict[str, list[str]]:
    """Return the model classes by the folder that defines them, without importing any."""
    root = Path(recbole.model.__path__[0])
    models_of = {}
    for folder in sorted(path for path in root.iterdir() if (path / "__init__.py").is_file()):
        models_of[folder.name] = [_model_of(file) for file in sorted(folder.glob("[!_]*.py"))]
    return models_of


def _model_of(file: Path) -> str:
    """Return the class that RecBole looks for in a file: that of its name, whatever the case."""
    classes = [node.name for node in ast.parse(file.read_text(encoding="utf-8")).body
               if isinstance(node, ast.ClassDef)]
    return next(name for name in classes if name.lower() == file.stem)


def compared(function: Callable, name: str) -> list[str]:
    """Return the texts that a function compares a variable, attribute or method of it with."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    values = [node.comparators[0].value for node in ast.walk(tree)
             if isinstance(node, ast.Compare) and _name(node.left) == name
             and isinstance(node.comparators[0], ast.Constant)
             and isinstance(node.comparators[0].value, str)]
    return list(dict.fromkeys(values))


def _name(node: ast.expr) -> str | None:
    """Return x for `x`, `self.x`, `x.lower()` and `x[0:3]`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
