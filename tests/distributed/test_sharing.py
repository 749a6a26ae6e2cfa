"""What processes share of a step adds up to the whole, without any process."""

import numpy as np
import pytest
import torch

from recbole_ssr.distributed import group
from recbole_ssr.distributed.place import Place, from_environment
from recbole_ssr.distributed.sharing import part_of, shared_step, sharing
from recbole_ssr.errors import UserError
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.objectives import OBJECTIVES, make_objective
from recbole_ssr.spectral.alignment import cross_modal_infonce
from recbole_ssr.train import parallel

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def mean_over(monkeypatch):
    """Return the mean of a loss and of its gradients over so many processes."""
    def mean(size, loss, *leaves):
        values, gradients = [], []
        for rank in range(size):
            monkeypatch.setattr(group, "_place", Place(rank, size, rank, size))
            with shared_step():
                value = loss(*leaves)
            gradients.append(torch.autograd.grad(value, leaves))
            values.append(value.detach())
        return torch.stack(values).mean(), [torch.stack(g).mean(0) for g in zip(*gradients)]

    return mean


@pytest.mark.parametrize("n, size", [(0, 3), (2, 3), (7, 3), (1000, 7)])
def test_parts_are_disjoint_whole_and_nearly_equal(n, size):
    parts = [part_of(n, rank, size) for rank in range(size)]
    assert [row for part in parts for row in range(n)[part]] == list(range(n))
    sizes = [len(range(n)[part]) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("size", [2, 9])  # more than there are users, too
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_is_the_mean_over_its_processes(mean_over, name, size):
    generator = torch.Generator().manual_seed(1)
    users, positives, negatives = (torch.randint(1, n, (20,), generator=generator)
                                   for n in (5, 12, 12))
    objective = make_objective(name, 0.3, "train", sampled_cosine=True)
    batch = Batch.of_all_items(users, positives, negatives, 12) if objective.all_items \
        else Batch.of(users, positives, negatives)
    user = torch.randn(len(batch.users), 4, generator=generator, dtype=torch.double)
    item = torch.randn(len(batch.items), 4, generator=generator, dtype=torch.double)
    degree = torch.arange(12).double()

    def loss(user, item):
        return objective(user, item, batch, degree)

    leaves = user.requires_grad_(), item.requires_grad_()
    torch.testing.assert_close(mean_over(size, loss, *leaves), mean_over(1, loss, *leaves))


def test_a_contrast_of_modalities_is_the_mean_over_its_processes(mean_over):
    a, b = torch.randn(2, 2, 5, 3, dtype=torch.double, requires_grad=True)
    leaves = a.detach().requires_grad_(), b.detach().requires_grad_()

    def loss(a, b):
        return cross_modal_infonce(a, b, torch.ones(5), 0.2, block=4, exclude_self=True)

    torch.testing.assert_close(mean_over(3, loss, *leaves), mean_over(1, loss, *leaves))


def test_nothing_is_shared_outside_of_a_step(monkeypatch):
    monkeypatch.setattr(group, "_place", Place(0, 2, 0, 2))
    assert not sharing()
    with shared_step():
        assert sharing()
    assert not sharing()


def test_torchrun_tells_a_process_its_place():
    assert from_environment({}) is None
    assert from_environment(TORCHRUN) == Place(rank=3, size=4, local_rank=1, local_size=2)


@pytest.mark.parametrize("changes, told", [
    ({"RANK": ""}, "WORLD_SIZE=4 is set without RANK. .*--nproc=N"),
    ({"WORLD_SIZE": "four"}, "WORLD_SIZE=four.*whole numbers"),
    ({"RANK": "4"}, "RANK=4, WORLD_SIZE=4.*count from 0"),
    ({"LOCAL_WORLD_SIZE": "5"}, "LOCAL_WORLD_SIZE=5 do not fit"),
])
def test_an_environment_that_cannot_be_is_refused(changes, told):
    with pytest.raises(UserError, match=told):
        from_environment(TORCHRUN | changes)


@pytest.mark.parametrize("other_size, other_state, together", [
    (1.0, 0, True), (1 + 1e-6, 0, True), (1.1, 0, False), (1.0, 1, False)])
def test_processes_that_come_to_differ_end_the_run(monkeypatch, other_size, other_state, together):
    """In parameters beyond rounding, or in a random state at all."""
    def rows_of_both(facts):
        other = facts * torch.tensor([other_size, 1, 1, 1, 1]) \
            + torch.tensor([0, 0, 0, other_state, 0])
        return torch.cat([facts, other])

    monkeypatch.setattr(group, "_place", Place(0, 2, 0, 2))
    monkeypatch.setattr(parallel, "rows_of_all", rows_of_both)
    state = {"torch": torch.get_rng_state(), "loader": [torch.get_rng_state()],
             "numpy": ["MT19937", np.arange(3), 0]}
    if together:
        parallel.check_in_step(torch.nn.Linear(2, 2), state, 4)
    else:
        with pytest.raises(UserError, match="out of step in epoch 4"):
            parallel.check_in_step(torch.nn.Linear(2, 2), state, 4)
