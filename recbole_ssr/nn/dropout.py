"""Dropout whose rate comes from a configuration."""

from __future__ import annotations

from torch import nn

from recbole_ssr.errors import UserError


def dropout_of(config, key: str) -> nn.Dropout:
    """Return dropout at the rate config[key]. Raises UserError where it would leave nothing."""
    rate = config[key]
    if not 0 <= rate < 1:
        raise UserError(f"{key} is {rate}; a share to drop is at least 0 and below 1")
    return nn.Dropout(rate)
