"""The COO products that the bundled baselines are measured against."""

import sys

import pytest
import torch
from benchmark_scripts import scripts_of
from recbole.utils import get_model
from stubs import Data, Features, settings, triples

from recbole_ssr.errors import UserError
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.knn import ItemGraph, knn
from recbole_ssr.model import propagation
from recbole_ssr.nn import edge_dot, edges, sparse
from recbole_ssr.spectral import chebyshev

scripts = scripts_of("datasets", "step_time", "coo_products", "baselines_step")
USERS, ITEMS, PAIRS = 30, 20, 120


def interactions(generator):
    return (torch.randint(1, n, (PAIRS,), generator=generator) for n in (USERS, ITEMS))


def products():
    """Each product of the package with arguments; x and y stand for inputs of 3 columns."""
    generator = torch.Generator().manual_seed(1)
    users, items = interactions(generator)
    graph = BipartiteGraph(users, items, USERS, ITEMS)
    features, present = torch.randn(ITEMS, 4, generator=generator), torch.arange(ITEMS) > 2
    item_graph = ItemGraph([knn(features, present, 3)], [present], [1.0])
    T, Tt = item_graph["T"], item_graph["Tt"]
    pairs = torch.unique(users * ITEMS + items)
    pattern = edges.EdgePattern(pairs // ITEMS, pairs % ITEMS, (USERS, ITEMS))
    values = torch.rand(len(pairs), generator=generator)
    user, item = (torch.randn(n, 3, generator=generator) for n in (USERS, ITEMS))
    return {
        propagation.propagate_mean: ((graph, user, item, 2), (1, 2)),
        propagation.layers_of: ((graph, user, item, 3), (1, 2)),
        propagation.users_of: ((graph, item), (1,)),
        propagation.smoothed: ((item_graph, item), (1,)),
        chebyshev.propagate_sum: ((graph, (user, item), 2), (1,)),
        sparse.sparse_product: ((item, graph["R"], graph["Rt"]), (0,)),
        sparse.add_sparse_product: ((item, T, Tt), (0,)),
        sparse.adjacency_product: ((graph, (user, item)), (1,)),
        edges.edge_product: ((pattern, values, item), (1, 2)),
        edge_dot.edge_dot: ((pattern, user, item), (1, 2)),
    }


def flat(value):
    """All tensors in a nest of pairs and iterators, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in flat(part)]


def value_and_gradients(function, arguments, inputs):
    """Results of a product and the gradients of a sum over them that tells rows apart."""
    arguments = list(arguments)
    leaves = []
    for k in inputs:
        fresh = [t.clone().requires_grad_() for t in flat(arguments[k])]
        leaves += fresh
        arguments[k] = fresh[0] if isinstance(arguments[k], torch.Tensor) else tuple(fresh)
    out = flat(function(*arguments))
    loss = sum((t * torch.linspace(-1, 1, t.numel()).view_as(t)).sum() * (k + 1)
               for k, t in enumerate(out))
    return out, torch.autograd.grad(loss, leaves)


def test_every_product_is_replaced(scripts):
    assert scripts["coo_products"].REPLACED.keys() == products().keys()


@pytest.mark.parametrize("original", products(), ids=lambda f: f.__name__)
def test_each_coo_product_equals_the_packages_own(scripts, original):
    arguments, inputs = products()[original]
    ours = value_and_gradients(original, arguments, inputs)
    coo = value_and_gradients(scripts["coo_products"].REPLACED[original], arguments, inputs)
    for a, b in zip(flat(ours), flat(coo), strict=True):
        torch.testing.assert_close(a, b.to_dense() if b.is_sparse else b)


MODELS = ("FREEDOM", "FastLightGCN", "GRCN", "DualGNN", "LATTICE", "LayerGCN",
          "FastSGL", "MGCN")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_on_coo_products_has_the_same_loss_and_gradients(scripts, model, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    users, items = interactions(generator)
    features = Features(text=torch.randn(ITEMS, 6, generator=generator),
                        image=torch.randn(ITEMS, 9, generator=generator))
    data = Data(users, items, USERS, ITEMS, features)
    batch = triples(users[:40], items[:40], 1 + (items[:40] + 5) % (ITEMS - 1))
    coo, found = scripts["coo_products"], []
    calls = []
    multiply = torch.sparse.mm
    monkeypatch.setattr(torch.sparse, "mm", lambda *a: calls.append(1) or multiply(*a))
    for context in (None, coo.CooProducts()):
        torch.manual_seed(3)
        built = get_model(model)(settings(model, embedding_size=8, seed=1), data).train()
        torch.manual_seed(4)
        if context is None:
            loss = built.calculate_loss(batch)
        else:
            with context:
                loss = built.calculate_loss(batch)
        assert bool(calls) == (context is not None)
        total = sum(loss) if isinstance(loss, tuple) else loss
        total.backward()
        found.append([total.detach(), *(p.grad for p in built.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    # Outside of the context everything is as before.
    assert propagation.smoothed is not coo.smoothed and sparse.sparse_product in coo.REPLACED


@pytest.mark.slow
def test_the_report_has_a_row_for_every_model_that_steps(scripts, monkeypatch, capsys):
    script = scripts["baselines_step"]
    monkeypatch.setattr(sys, "argv", ["x", "--only", "FREEDOM", "--pairs=2", "--batch_size=512"])
    assert script.main() == 0
    row = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert row[0].strip() == "FREEDOM" and len(row) == 6
    assert all(float(cell.split()[0]) > 0 for cell in row[1:])
    monkeypatch.setattr(sys, "argv", ["x", "--only", "FREDOM"])
    with pytest.raises(UserError, match="Did you mean 'FREEDOM'"):
        script.main()
