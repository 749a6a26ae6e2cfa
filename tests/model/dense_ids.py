"""A tiny graph and the dense formulas that models on ids are compared with."""

import torch
from stubs import Data, Features, settings, triples
from torch.nn import functional as F

EDGES = torch.tensor([[1, 1], [1, 2], [2, 2], [2, 3], [3, 1], [3, 4], [4, 4]])
N_USERS, N_ITEMS = 5, 6  # user 0 and item 0 are padding, item 5 is never seen
BATCH = triples([1, 3, 2, 1], [1, 4, 3, 2], [4, 2, 5, 4])


def make(cls, features=None, **changes):
    """The model `cls` on the tiny graph."""
    torch.manual_seed(0)
    data = Data(EDGES[:, 0], EDGES[:, 1], N_USERS, N_ITEMS, features or Features())
    options = {"embedding_size": 3, "seed": 1, **changes}
    return cls(settings(cls.__name__, **options), data)


def stacked(model):
    """The ids of users, then of items, without gradients."""
    return torch.cat([model.E_user, model.E_item]).detach()


def dense_adjacency(edges=EDGES):
    """D^-1/2 A D^-1/2 of interactions as a dense matrix; rows of nodes without any are zero."""
    A = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS)
    for u, i in edges.tolist():
        A[u, N_USERS + i] = A[N_USERS + i, u] = 1
    degree = A.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=1) ** -0.5, 0.0)
    return torch.diag(scale) @ A @ torch.diag(scale)


def light_gcn(A, x, layers):
    """The mean of x, A x, ..., A^L x."""
    return sum(torch.linalg.matrix_power(A, k) @ x for k in range(layers + 1)) / (layers + 1)


def rows(x, batch=BATCH):
    """The rows of a batch's users, positives and negatives in the stacked nodes."""
    return (x[batch["user_id"]], x[N_USERS + batch["item_id"]], x[N_USERS + batch["neg_item_id"]])


def margins(x, batch=BATCH):
    """Scores of positives less those of negatives."""
    u, i, j = rows(x, batch)
    return (u * i).sum(1) - (u * j).sum(1)


def bpr(x, batch=BATCH):
    """Mean BPR of a batch."""
    return -F.logsigmoid(margins(x, batch)).mean()


def scores(x):
    """All scores, users by items."""
    return x[:N_USERS] @ x[N_USERS:].T


def scored(model):
    """What the model scores in evaluation, users by items."""
    users = {"user_id": torch.arange(N_USERS)}
    return model.eval().full_sort_predict(users).view(N_USERS, N_ITEMS)
