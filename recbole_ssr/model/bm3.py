"""BM3: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class BM3(Baseline):
    """To be written."""
