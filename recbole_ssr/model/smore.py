"""SMORE: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class SMORE(Baseline):
    """To be written."""
