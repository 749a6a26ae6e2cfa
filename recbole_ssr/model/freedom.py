"""FREEDOM: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class FREEDOM(Baseline):
    """To be written."""
