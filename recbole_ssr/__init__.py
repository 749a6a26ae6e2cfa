"""Multimodal recommendation for RecBole.

``import recbole_ssr`` repairs what RecBole breaks on current numpy, scipy and torch
(:mod:`recbole_ssr.compat`) and registers the plugin's models, so that stock RecBole knows
``SSR`` by name (:mod:`recbole_ssr.registry`).
"""

from pathlib import Path as _Path

from recbole_ssr.version import __version__

# `properties/` and `dataset_prep/` are top-level folders of a checkout and subpackages of a wheel.
# Searching the checkout as well gives both layouts the same import names.
_checkout = _Path(__file__).resolve().parent.parent
if (_checkout / "properties" / "overall.yaml").is_file():
    __path__.append(str(_checkout))

from recbole_ssr.cores import spin_briefly as _spin_briefly  # noqa: E402

# Torch reads it once, when it is imported, and compat imports torch.
_spin_briefly()

from recbole_ssr import slow_imports as _slow_imports  # noqa: E402

_slow_imports.postpone()

from recbole_ssr import compat as _compat  # noqa: E402

# RecBole reads names that current numpy and scipy lack while it is imported: repair them first.
_compat.apply()

from recbole_ssr import config_hook as _config_hook  # noqa: E402
from recbole_ssr import registry as _registry  # noqa: E402

_registry.register_all()
_config_hook.install_config_hook()

from recbole_ssr import plugins as _plugins  # noqa: E402
from recbole_ssr.errors import UserError  # noqa: E402
from recbole_ssr.measurement import evaluate  # noqa: E402
from recbole_ssr.quick_start import load_run, run  # noqa: E402
from recbole_ssr.result import RunResult  # noqa: E402
from recbole_ssr.serve.recommender import load  # noqa: E402

_plugins.load()

__all__ = ["RunResult", "UserError", "__version__", "evaluate", "load", "load_run", "run"]
