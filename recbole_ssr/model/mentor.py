"""MENTOR: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class MENTOR(Baseline):
    """To be written."""
