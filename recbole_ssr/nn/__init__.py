"""Building blocks that know only torch: projections and losses."""
