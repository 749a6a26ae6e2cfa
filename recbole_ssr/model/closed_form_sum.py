"""ClosedFormSum: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class ClosedFormSum(Baseline):
    """To be written."""
