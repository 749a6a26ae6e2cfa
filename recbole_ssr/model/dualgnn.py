"""DualGNN: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class DualGNN(Baseline):
    """To be written."""
