"""Values at the nodes of the user-item graph."""

from torch import Tensor

Nodes = tuple[Tensor, Tensor]  # of users (U, ...), of items (I, ...), or of some of each
