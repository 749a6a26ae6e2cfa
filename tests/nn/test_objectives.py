import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.objectives import CANDIDATES, OBJECTIVES, make_objective, shown_to
from recbole_ssr.nn.softmax import log_denominators

TAU = 0.3
N_USERS, N_ITEMS, WIDTH = 6, 9, 4
# User 3 occurs three times and its pair with item 5 twice; item 5 is also a negative of user 3.
USERS = torch.tensor([3, 1, 3, 4, 3, 1])
POSITIVES = torch.tensor([5, 2, 5, 7, 2, 8])
NEGATIVES = torch.tensor([5, 1, 2, 3, 3, 6])
# Items 0 (padding), 1 and 4 do not occur in training.
DEGREE = torch.tensor([0, 0, 4, 1, 0, 3, 2, 1, 9]).double()


def objective(name, temperature=TAU, candidates="train", cosine=False):
    return make_objective(name, temperature, candidates, cosine)


def embeddings(scale=1.0):
    generator = torch.Generator().manual_seed(3)
    return tuple(
        torch.randn(n, WIDTH, generator=generator, dtype=torch.float64) * scale
        for n in (N_USERS, N_ITEMS)
    )


def evaluate(loss, user, item, users=USERS, positives=POSITIVES, negatives=NEGATIVES,
             degree=DEGREE, shown=None):
    """The objective on a batch of ids, given the embeddings of all nodes."""
    if loss.all_items:
        batch = Batch.of_all_items(users, positives, negatives, len(item))
    else:
        batch = Batch.of(users, positives, negatives)
    return loss(user[batch.users], item[batch.items], batch, degree, shown=shown)


def scores(user, item, cosine):
    if cosine:
        user, item = F.normalize(user), F.normalize(item)
    return user @ item.T


def literal_softmax(loss, user, item):
    """One interaction and one candidate at a time."""
    s, total = scores(user, item, loss.cosine) / TAU, 0.0
    for u, i in zip(USERS, POSITIVES):
        items = [k for k in range(1, N_ITEMS) if loss.candidates == "all" or DEGREE[k] > 0]
        total += math.log(sum(math.exp(s[u, k]) for k in items)) - s[u, i].item()
    return total / len(USERS)


def literal_sampled(loss, user, item):
    s, total = scores(user, item, loss.cosine) / TAU, 0.0
    items = [k for k in range(1, N_ITEMS) if loss.candidates == "all" or DEGREE[k] > 0]
    drawn = [j.item() for j in NEGATIVES if j in items]
    for u, i in zip(USERS, POSITIVES):
        others = sum(math.exp(s[u, j]) * len(items) / len(drawn) for j in drawn if j != i)
        total += math.log(math.exp(s[u, i]) + others) - s[u, i].item()
    return total / len(USERS)


def literal_in_batch(loss, user, item):
    s, total = scores(user, item, loss.cosine) / TAU, 0.0
    p = DEGREE / DEGREE.sum()
    for u, i in zip(USERS, POSITIVES):
        positive = (s[u, i] - p[i].log()).item()
        others = sum(math.exp(s[u, j] - p[j].log()) for j in POSITIVES if j != i)
        total += math.log(math.exp(positive) + others) - positive
    return total / len(USERS)


LITERAL = {"softmax": literal_softmax, "cosine_softmax": literal_softmax,
           "sampled_softmax": literal_sampled, "in_batch_softmax": literal_in_batch}


def test_a_batch_finds_its_nodes_by_position():
    part, every = Batch.of(USERS, POSITIVES, NEGATIVES), Batch.of_all_items(
        USERS, POSITIVES, NEGATIVES, N_ITEMS)
    for batch in (part, every):
        assert torch.equal(batch.users[batch.user], USERS)
        assert torch.equal(batch.items[batch.positive], POSITIVES)
        assert torch.equal(batch.items[batch.negative], NEGATIVES)
    assert part.users.tolist() == every.users.tolist() == [1, 3, 4]
    assert part.items.tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert every.items.tolist() == list(range(N_ITEMS))


@pytest.mark.parametrize("name, by_hand", [
    ("bce", (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2),
    ("bpr", math.log(1 + math.exp(-3))),
])
def test_pairwise_objectives_by_hand(name, by_hand):
    user, item = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0], [-1.0]])
    triple = {"users": torch.tensor([1]), "positives": torch.tensor([1]),
              "negatives": torch.tensor([2])}
    for cosine in (False, True):  # a flag of the sampled softmaxes only
        value = evaluate(objective(name, cosine=cosine), user, item, **triple, degree=None)
        assert value.item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("candidates", CANDIDATES)
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("name", LITERAL)
def test_softmaxes_equal_their_formula_term_by_term(name, cosine, candidates):
    loss = objective(name, candidates=candidates, cosine=cosine)
    assert loss.cosine == (name == "cosine_softmax" or (cosine and name != "softmax"))
    user, item = embeddings()
    value = evaluate(loss, user, item)
    assert value.item() == pytest.approx(LITERAL[name](loss, user, item), rel=1e-12)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_finite_differences(name, cosine):
    loss = objective(name, cosine=cosine)
    user, item = (x.requires_grad_() for x in embeddings())
    assert gradcheck(lambda u, i: evaluate(loss, u, i), (user, item))


@pytest.mark.parametrize("name", ["softmax", "cosine_softmax"])
def test_the_full_softmax_is_cross_entropy_of_repeated_rows(name):
    loss = objective(name)
    user, item = (x.requires_grad_() for x in embeddings())
    kept = DEGREE.nonzero().squeeze(1)
    plain = F.cross_entropy(scores(user, item, loss.cosine)[USERS][:, kept] / TAU,
                            torch.searchsorted(kept, POSITIVES))
    value = evaluate(loss, user, item)
    torch.testing.assert_close(value, plain, rtol=1e-12, atol=0)
    expected = torch.autograd.grad(plain, (user, item))
    torch.testing.assert_close(torch.autograd.grad(value, (user, item)), expected)


@pytest.mark.parametrize("bound", [math.inf, 1.0])
@pytest.mark.parametrize("block", [1, 2, 4, 100])
def test_blocks_change_neither_value_nor_gradient(block, bound):
    user, item = (F.normalize(x).requires_grad_() for x in embeddings())
    weight, candidates = torch.rand(N_USERS).double(), DEGREE > 0
    whole = ((user @ item.T)[:, candidates] / TAU).logsumexp(1) @ weight
    value = log_denominators(user, item, weight, candidates, TAU, bound, block)
    torch.testing.assert_close(value, whole)
    torch.testing.assert_close(torch.autograd.grad(value, (user, item)),
                               torch.autograd.grad(whole, (user, item)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_extreme_scores_and_temperatures_stay_finite(name):
    user, item = (x.float() for x in embeddings(scale=1e3))
    for temperature in (1e-3, TAU, 1e3):
        for cosine in (False, True):
            loss = objective(name, temperature, cosine=cosine)
            leaves = user.clone().requires_grad_(), item.clone().requires_grad_()
            value = evaluate(loss, *leaves, degree=DEGREE.float())
            assert torch.isfinite(value)
            for gradient in torch.autograd.grad(value, leaves):
                assert torch.isfinite(gradient).all()


def test_a_low_temperature_does_not_underflow_in_single_precision():
    """All cosines are -1, so that exp((s - bound) / tau) would vanish."""
    user, item = torch.tensor([[1.0, 0]]).repeat(2, 1), torch.tensor([[-1.0, 0]]).repeat(4, 1)
    ids = {"users": torch.tensor([1]), "positives": torch.tensor([2]),
           "negatives": torch.tensor([3]), "degree": torch.ones(4)}
    value = evaluate(objective("cosine_softmax", 0.01, "all"), user, item, **ids)
    assert value.item() == pytest.approx(math.log(3), rel=1e-5)


def test_the_popularity_correction_changes_nothing_among_equally_popular_items():
    user, item = embeddings()
    three = slice(1, 4)  # the positives 2, 5 and 7
    batch = {"users": USERS[three], "positives": POSITIVES[three], "negatives": NEGATIVES[three]}
    plain = F.cross_entropy(user[batch["users"]] @ item[batch["positives"]].T / TAU,
                            torch.arange(3))
    for degree in (1.0, 7.0):
        value = evaluate(objective("in_batch_softmax"), user, item, **batch,
                         degree=torch.full((N_ITEMS,), degree))
        torch.testing.assert_close(value, plain)


def test_a_popular_positive_of_others_is_pushed_down_less():
    user, item = embeddings()
    item.requires_grad_()
    batch = {"users": torch.tensor([1, 3]), "positives": torch.tensor([2, 5]),
             "negatives": torch.tensor([6, 6])}
    push = []
    for degree_of_5 in (1.0, 10.0):
        degree = torch.ones(N_ITEMS).double()
        degree[5] = degree_of_5
        value = evaluate(objective("in_batch_softmax"), user, item, **batch, degree=degree)
        (gradient,) = torch.autograd.grad(value, item)
        push.append((user[1] @ gradient[2]).item())
    # Against a popular competitor the anchor's own positive is already more likely.
    assert push[0] < push[1] < 0


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_positives_drawn_by_users_are_corrected_by_how_often_they_are_shown(power):
    users, items = torch.tensor([1, 1, 1, 2, 3, 3, 4]), torch.tensor([2, 5, 6, 2, 8, 7, 7])
    degree = torch.bincount(items, minlength=N_ITEMS).double()
    loss = objective("in_batch_softmax")
    shown = shown_to(loss, users, items, degree, power, 0.0)
    each = torch.tensor([3, 3, 3, 1, 2, 2, 1]).double().pow(-power)
    for item in range(N_ITEMS):
        expected = each[items == item].sum() * len(items) / each.sum()
        assert shown[item].item() == pytest.approx(expected.item())
    assert shown_to(loss, users, items, degree, 0.0, 1.0) is None
    user, item = embeddings()
    value = evaluate(loss, user, item, users, items, items, degree, shown)
    logits = user @ item.T / TAU - shown.clamp(min=1e-300).log()
    total = 0.0
    for u, i in zip(users, items):
        others = sum(logits[u, j].exp() for j in items if j != i)
        total += (logits[u, i].exp() + others).log() - logits[u, i]
    assert value.item() == pytest.approx(total.item() / len(users))


@pytest.mark.parametrize("power", [0.0, 0.75])
@pytest.mark.parametrize("candidates", CANDIDATES)
def test_the_sampled_gradient_is_the_full_one_on_average(candidates, power):
    """The estimate of the denominator is unbiased, its log nearly so for many negatives."""
    degree = DEGREE.clamp(min=1) * (torch.arange(N_ITEMS) > 0)
    chance = degree.pow(power) * (degree > 0)
    shown = shown_to(objective("sampled_softmax"), USERS, POSITIVES, degree, 0.0, power)
    assert (shown is None) == (power == 0)
    user, item = (x.requires_grad_() for x in embeddings(scale=0.5))
    pairs = torch.arange(len(USERS)).repeat(50)
    ids = {"users": USERS[pairs], "positives": POSITIVES[pairs]}
    full = evaluate(objective("softmax", 1.0, candidates), user, item, **ids,
                    negatives=NEGATIVES[pairs], degree=degree)
    expected = torch.autograd.grad(full, (user, item))
    generator = torch.Generator().manual_seed(11)
    draws, means = 200, [torch.zeros_like(user), torch.zeros_like(item)]
    for _ in range(draws):
        negatives = torch.multinomial(chance, len(pairs), True, generator=generator)
        value = evaluate(objective("sampled_softmax", 1.0, candidates), user, item, **ids,
                         negatives=negatives, degree=degree, shown=shown)
        for mean, gradient in zip(means, torch.autograd.grad(value, (user, item))):
            mean += gradient / draws
    for mean, gradient in zip(means, expected):
        assert (mean - gradient).norm() < 0.01 * gradient.norm()


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("name", ["sampled_softmax", "in_batch_softmax"])
def test_the_own_positive_is_no_negative(name, cosine):
    """Interactions of one pair whose only negatives are that positive have nothing to learn."""
    user, item = embeddings()
    pair = {"users": torch.tensor([3, 3]), "positives": torch.tensor([5, 5]),
            "negatives": torch.tensor([5, 5])}
    value = evaluate(objective(name, cosine=cosine), user, item, **pair)
    assert value.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["softmax", "cosine_softmax", "sampled_softmax"])
def test_items_outside_the_candidates_get_no_gradient(name):
    user, item = embeddings()
    item.requires_grad_()
    # Item 1, never seen in training, is a sampled negative; 4 is not even that.
    negatives = torch.tensor([1, 6, 3, 1, 3, 6])
    for candidates, outside in (("train", [0, 1, 4]), ("all", [0])):
        value = evaluate(objective(name, candidates=candidates), user, item, negatives=negatives)
        (gradient,) = torch.autograd.grad(value, item)
        assert not gradient[outside].any()
        assert gradient[[2, 3, 5, 6, 7, 8]].abs().sum(1).min() > 0
        assert gradient[1].any() == (candidates == "all")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'bqr'.*bce, bpr, softmax, cosine_softmax"):
        objective("bqr")
    with pytest.raises(ValueError, match="'test'.*train, all"):
        objective("softmax", candidates="test")
    for temperature in (0, -0.1, math.nan):
        with pytest.raises(ValueError, match=f"{temperature}; make it positive"):
            objective("softmax", temperature)
    user, item = embeddings()
    batch = Batch.of(USERS, POSITIVES, NEGATIVES)
    with pytest.raises(ValueError, match="all 9 items and got 7.*of_all_items"):
        objective("softmax")(user[batch.users], item[batch.items], batch, DEGREE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pytest -m gpu, with a CUDA device")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gpu_computes_the_same(name):
    user, item = embeddings()
    here = evaluate(objective(name), user, item)
    there = evaluate(objective(name), *(x.cuda() for x in (
        user, item, USERS, POSITIVES, NEGATIVES, DEGREE)))
    torch.testing.assert_close(there.cpu(), here)
