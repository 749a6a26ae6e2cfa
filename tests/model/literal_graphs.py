"""Graphs and losses written out densely, in plain loops, as the papers' equations have them."""

import torch
from torch.nn import functional as F


def dense_adjacency(pairs, n_users, n_items):
    """D^-1/2 A D^-1/2 over users then items. Shapes: result (U + I, U + I)."""
    A = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    for u, i in pairs:
        A[u, n_users + i] = A[n_users + i, u] = 1
    d = A.sum(1)
    for a in range(len(A)):
        for b in range(len(A)):
            if A[a, b]:
                A[a, b] = 1 / (d[a] * d[b]).sqrt()
    return A


def light_gcn(A, user, item, layers):
    """Mean of A^l x over l = 0 .. layers. Shapes: user (U, d), item (I, d) and the result."""
    x = torch.cat([user, item])
    terms = [x]
    for _ in range(layers):
        terms.append(A @ terms[-1])
    return torch.stack(terms).mean(0).split([len(user), len(item)])


def knn_rows(X, present, k):
    """1/k at the k nearest of every item by cosine; the identity's row where there is no X."""
    S = torch.eye(len(X), dtype=torch.float64)
    ids = [i for i in range(len(X)) if present[i]]
    for i in ids:
        cosine = {j: F.cosine_similarity(X[i], X[j], dim=0).item() for j in ids}
        near = sorted(ids, key=lambda j: -cosine[j])[:k]
        S[i] = 0
        for j in near:
            S[i, j] = 1 / len(near)
    return S


def bpr_of_triples(user, item, batch):
    """Mean of -log sigmoid(s_ui - s_uj) over the triples of a batch."""
    terms = [-((user[u] * (item[i] - item[j])).sum().sigmoid().log())
             for u, i, j in triples_of(batch)]
    return torch.stack(terms).mean()


def triples_of(batch):
    return zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")))


def parameters_of(model):
    """The model's parameters in float64, detached, by name."""
    return {name: p.detach().double() for name, p in model.named_parameters()}


def randomise(model):
    """Give every parameter values of one size, so that no term of a loss hides."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.4)
    return model
