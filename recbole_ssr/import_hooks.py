"""What is done around the import of single modules of RecBole, for packages slow or not there.

Standard library only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

Execute = Callable[[ModuleType], None]
_hooks: dict[str, Callable[[ModuleType, Execute], None]] = {}


def around_import(name: str, load: Callable[[ModuleType, Execute], None]) -> None:
    """Have `load(module, execute)` import the module `name`; `execute(module)` runs its code.

    Of a module that is imported already, only a reload is concerned. A later hook of the same name
    replaces the earlier one.
    """
    _hooks[name] = load
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


@contextmanager
def stand_in(package: str, attribute: str) -> Iterator[None]:
    """Within, `from package import attribute` works also where that package cannot be imported.

    What it then gives raises the ImportError as soon as it is used. The package itself stays as
    missing as it was.
    """
    try:
        __import__(package, fromlist=[attribute])
    except ImportError as error:
        there, before = package in sys.modules, sys.modules.get(package)
        sys.modules[package] = ModuleType(package)
        setattr(sys.modules[package], attribute, _Missing(error))
    else:
        yield
        return
    try:
        yield
    finally:
        del sys.modules[package]
        if there:
            sys.modules[package] = before


@contextmanager
def postponed(package: str, names: Sequence[str]) -> Iterator[None]:
    """Within, `from package import name` gives functions that import the package when called.

    A package that is imported already is used as it is.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = ModuleType(package)
    for name in names:
        setattr(sys.modules[package], name, partial(_call, package, name))
    try:
        yield
    finally:
        del sys.modules[package]


def _call(package: str, name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(importlib.import_module(package), name)(*args, **kwargs)


class _Missing:
    """Raises, when it is called or asked for an attribute, why it could not be imported."""

    def __init__(self, error: ImportError):
        self._error = error

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise self._error

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(name) if name.startswith("__") else self._error


class _Finder:
    """Finds the modules that have a hook, and no others."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the module's spec with the hook around its code, None where there is no hook."""
        del target
        spec = PathFinder.find_spec(name, path) if name in _hooks else None
        if spec is None or spec.loader is None:
            return None
        execute, load = spec.loader.exec_module, _hooks[name]
        spec.loader.exec_module = lambda module: load(module, execute)
        return spec
