"""SSR's reference profile written out with dense matrices, for comparison only."""

import torch


def literal_losses(model, batch, mask):
    """Return the weighted loss parts by name. `mask` (B, M): distinct users, then items."""
    U, items, M = model.n_users, model.n_items, len(model.constants["bank"])
    A = torch.zeros(U + items, U + items, dtype=torch.float64)
    A[:U, U:] = model.graph["R"].to_dense()  # normalised in float32, see test_bipartite.py
    A[U:, :U] = A[:U, U:].T
    T = model.item_graph["T"].to_dense()

    Y, Z = [], []
    for k, c in enumerate(model.modalities):
        if c == "id":
            H = model.H_id
        else:
            f = model.project[f"modality{k}"]
            hidden = model.features[f"modality{k}"] @ f.W1.weight.T + f.W1.bias
            H = torch.where(hidden > 0, hidden, 0.01 * hidden) @ f.W2.weight.T + f.W2.bias
        X = torch.cat([model.P[k], H])
        X = X / X.norm(dim=1, keepdim=True).clamp(min=1e-12)
        G = sum(torch.linalg.matrix_power(A, power) @ X for power in range(model.n_layers + 1))
        w = model.w[:, k : k + 1]
        Y.append(torch.cat([w * G[:U], G[U:]]))
        Z.append(torch.cat([model.P[k], T @ G[U:]]))
    Y, Z = torch.cat(Y, 1), torch.cat(Z, 1)
    S, bank = -A, model.constants["bank"].double()
    polynomials = [torch.eye(U + items, dtype=torch.float64), S]
    for _ in range(2, bank.shape[1]):
        polynomials.append(2 * S @ polynomials[-1] - polynomials[-2])
    B = torch.stack([sum(c * p for c, p in zip(row, polynomials)) @ Y
                     + sum(c * p for c, p in zip(row, polynomials)) @ Z for row in bank], dim=1)

    nodes_u = batch["user_id"].unique()
    nodes_i = torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()
    factor = torch.ones(U + items, M, dtype=torch.float64)
    factor[nodes_u], factor[nodes_i + U] = mask[: len(nodes_u)], mask[len(nodes_u) :]

    def aggregate(bands):
        return torch.cat([fuse(model.user_operator, bands[:U], Y[:U]),
                          fuse(model.item_operator, bands[U:], Y[U:])])

    clean, masked = aggregate(B), aggregate(B * factor[:, :, None])
    u, i, j = batch["user_id"], batch["item_id"] + U, batch["neg_item_id"] + U
    positive, negative = (clean[u] * clean[i]).sum(1), (clean[u] * clean[j]).sum(1)
    bce = -(torch.sigmoid(positive).log().mean() + (1 - torch.sigmoid(negative)).log().mean()) / 2
    consistency = sum(((masked[n] - clean[n].detach()) ** 2).mean() for n in (u, i, j)) / 3
    regulariser = 0.0
    for op in (model.user_operator, model.item_operator):
        kappa = op.Wq @ op.Wk.T / op.Wq.shape[1] ** 0.5
        regulariser += 2 * ((kappa**2).mean() + (op.g**2).mean())
    return {
        "bce": bce,
        "consistency": model.consistency_weight * consistency,
        "alignment": model.contrast_weight * (contrast(model, B[u]) + contrast(model, B[i])),
        "regulariser": model.operator_reg_weight * regulariser,
    }


def fuse(op, B, q):
    """Operator and gate with every F_m."""
    M, r = op.Wq.shape
    K = torch.softmax(op.Wq @ op.Wk.T / r**0.5, dim=0)
    v = (op.rho.softmax(0)[:, None] * torch.exp(0.1 * torch.tanh(op.g))).sum(0)
    F = torch.stack([op.s(q) * v * sum(K[m, n] * B[:, n] for n in range(M)) for m in range(M)], 1)
    w = 1 + op.gamma * torch.tanh(op.a(torch.cat([q, F.mean(1)], dim=1)))
    mixed = (w[:, :, None] * F).sum(1)
    eta = (F.sum(1).norm(dim=1) + 1e-6) / (mixed.norm(dim=1) + 1e-6)
    return eta[:, None] * mixed


def contrast(model, bands):
    """InfoNCE over the repeated nodes, both directions, mean over pairs of feature modalities."""
    parts = [p.reshape(-1, model.width) for p in bands.split(model.width, dim=2)[1:]]
    parts = [p / p.norm(dim=1, keepdim=True) for p in parts]
    losses = []
    for k, a in enumerate(parts):
        for b in parts[k + 1 :]:
            keys = torch.cat([a, b])
            for x, y in ((a, b), (b, a)):
                logits = x @ keys.T / model.temperature
                same = (x * y).sum(1) / model.temperature
                losses.append((torch.logsumexp(logits, 1) - same).mean())
    return torch.stack(losses).mean()
