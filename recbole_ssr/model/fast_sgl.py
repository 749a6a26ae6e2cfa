"""FastSGL: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class FastSGL(Baseline):
    """To be written."""
