"""MMGCN: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class MMGCN(Baseline):
    """To be written."""
