"""Graph operators: the bipartite user-item graph and item similarity graphs."""
