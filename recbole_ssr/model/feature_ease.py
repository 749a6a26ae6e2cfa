"""FeatureEASE: to be written."""

from __future__ import annotations

from recbole_ssr.model.baseline import Baseline


class FeatureEASE(Baseline):
    """To be written."""
