"""Dense parts of MGCN, SMORE and LGMRec, written out without the package's code.

R is the binary (U, I) matrix of interactions; everything is a plain dense matrix.
"""

import math

import torch


def binary(pairs, n_users, n_items):
    R = torch.zeros(n_users, n_items)
    for u, i in pairs:
        R[u, i] = 1
    return R


def normalised(R):
    """R_ui / sqrt(d_u d_i), nodes without interactions staying empty."""
    du, di = R.sum(1), R.sum(0)
    out = torch.zeros_like(R)
    for u, i in R.nonzero().tolist():
        out[u, i] = 1 / math.sqrt(du[u] * di[i])
    return out


def adjacency(R):
    (U, n_items), N = R.shape, sum(R.shape)
    A = torch.zeros(N, N)
    A[:U, U:] = normalised(R)
    A[U:, :U] = normalised(R).T
    assert A.shape == (U + n_items,) * 2
    return A


def lightgcn(R, user, item, layers):
    A, x = adjacency(R), torch.cat([user, item])
    total = sum(torch.linalg.matrix_power(A, n) @ x for n in range(layers + 1))
    return (total / (layers + 1)).split([len(user), len(item)])


def knn_graph(matrix, present, k):
    """Directed: s_ij / sqrt(r_i r_j) to the k nearest; a missing item keeps itself."""
    n = len(matrix)
    S = torch.zeros(n, n)
    for i in range(n):
        if not present[i]:
            continue
        cosine = {j: (matrix[i] @ matrix[j] / matrix[i].norm() / matrix[j].norm()).item()
                  for j in range(n) if present[j]}
        for j in sorted(cosine, key=cosine.get, reverse=True)[:k]:
            S[i, j] = cosine[j]
    r = S.sum(1)
    T = torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            if S[i, j] != 0:
                T[i, j] = S[i, j] / torch.sqrt(r[i] * r[j])
        if not present[i]:
            T[i, i] = 1
    return T


def linear(x, layer):
    out = x @ layer.weight.T
    return out if layer.bias is None else out + layer.bias


def content(matrix, present, layer):
    return linear(matrix, layer) * present[:, None]


def bpr(user, positive, negative):
    return -torch.log(torch.sigmoid((user * (positive - negative)).sum(1))).mean()


def nce(anchor, candidates, places, temperature):
    """Mean of -log softmax of the positive's cosine (0 with a row of zeros) among candidates'."""
    total = 0.0
    for a, place in zip(anchor, places):
        cosines = [a @ c / (a.norm() * c.norm()).clamp(min=1e-12) for c in candidates]
        logits = torch.stack(cosines) / temperature
        total = total - (logits[place] - torch.logsumexp(logits, 0))
    return total / len(anchor)


def side_loss(c, s, batch, gamma, temperature, l2, batch_size):
    """The three parts of the loss of MGCN and SMORE."""
    u, i, j = batch["user_id"], batch["item_id"], batch["neg_item_id"]
    user, item = c[0] + s[0], c[1] + s[1]
    every = range(len(u))
    return (
        bpr(user[u], item[i], item[j]),
        gamma * (nce(s[0][u], c[0][u], every, temperature)
                 + nce(s[1][i], c[1][i], every, temperature)),
        l2 * sum((e**2).sum() for e in (user[u], item[i], item[j])) / 2 / batch_size,
    )
