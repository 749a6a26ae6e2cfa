import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from recbole_ssr.spectral.fusion import SpectralFusion, band_gains
from recbole_ssr.spectral.slots import tap

M, C, B, D, RANK, FACTS = 3, 2, 7, 5, 4, 2


def literal(op, slots, facts):
    """The equations with every F_mc and every rank written out."""
    q = F.normalize(slots.sum((0, 1)), dim=1)
    hidden = torch.relu(op.mlp[0](torch.cat([q, facts], dim=1)))
    common = op.constants["gains"][:, None] + op.speed * op.w
    gate = common + torch.tanh(op.mlp[2](hidden)).view(-1, M, C)
    total = 0
    for m in range(M):
        for c in range(C):
            fused = slots[m, c].clone()
            for r in range(op.p.shape[0]):
                mixed = sum(op.b[n, r] * op.e[k, r] * slots[n, k]
                            for n in range(M) for k in range(C))
                fused = fused + op.a[m, r] * op.u[c, r] * op.p[r] * mixed
            total = total + gate[:, m, c, None] * fused
    return total


@pytest.fixture
def fusion():
    torch.manual_seed(3)
    op = SpectralFusion(M, C, D, RANK, hidden=6, n_facts=FACTS, gains=(0.5, 2.0),
                        speed=3.0).double()
    for p in op.parameters():
        torch.nn.init.normal_(p, std=0.6)
    return op


def inputs():
    generator = torch.Generator().manual_seed(1)
    slots = torch.randn(M, C, B, D, generator=generator, dtype=torch.float64)
    return slots, torch.randn(B, FACTS, generator=generator, dtype=torch.float64)


def test_equals_the_equations_written_out(fusion):
    slots, facts = inputs()
    torch.testing.assert_close(fusion(slots, facts), literal(fusion, slots, facts))


def test_without_hidden_channels_all_nodes_share_their_gains():
    torch.manual_seed(0)
    op = SpectralFusion(M, C, D, 0, hidden=0, n_facts=FACTS, gains=(0.5, 2.0)).double()
    torch.nn.init.normal_(op.w)
    slots, facts = inputs()
    gains = torch.tensor([0.5, 1.25, 2.0], dtype=torch.float64)[:, None] + op.w
    torch.testing.assert_close(op(slots, facts), torch.einsum("mc,mcbd->bd", gains, slots))


def test_a_slot_that_is_not_kept_is_as_if_it_were_zero(fusion):
    slots, facts = inputs()
    keep = torch.randint(2, (B, M, C)).double()
    masked = slots * keep.permute(1, 2, 0)[:, :, :, None]
    torch.testing.assert_close(fusion(slots, facts, keep), literal(fusion, masked, facts))


def test_gradient_of_slots_and_parameters(fusion):
    slots, facts = inputs()
    parameters = dict(fusion.named_parameters())

    def call(slots, *values):
        return torch.func.functional_call(fusion, dict(zip(parameters, values)), (slots, facts))

    small = slots[:, :, :2].clone().requires_grad_()
    facts = facts[:2]
    assert gradcheck(call, (small, *parameters.values()))


def test_taps_and_sums_add_their_gradients_to_the_other_uses():
    """The in-place accumulation against the same expression in torch's own operations."""
    slots, facts = inputs()
    rows, w = torch.tensor([4, 1, 2]), torch.randn(M, C, B, D, dtype=torch.float64)

    def ours(x):
        x, first = tap(x, rows)
        x, second = tap(x, rows[:2])
        return (x * w).sum() + first.square().sum() + second.exp().sum()

    def plain(x):
        first, second = (x.index_select(2, r) for r in (rows, rows[:2]))
        return (x * w).sum() + first.square().sum() + second.exp().sum()

    def expanded(x):  # the gradient of a sum is one number, expanded
        x, first = tap(x, rows)
        return x.sum() + first.square().sum()

    x = slots.requires_grad_()
    (got,), (expected,) = (torch.autograd.grad(f(x), x) for f in (ours, plain))
    torch.testing.assert_close(got, expected)
    assert gradcheck(ours, (x,)) and gradcheck(expanded, (x,))
    (twice,) = torch.autograd.grad(ours(x) + ours(x), x)
    torch.testing.assert_close(twice, 2 * expected)


def test_it_starts_near_the_sum_of_the_bands():
    torch.manual_seed(0)
    slots, facts = inputs()
    start = SpectralFusion(M, C, D, RANK, 16, FACTS).double()(slots, facts)
    plain = slots.sum((0, 1))
    assert 0 < (start - plain).norm() < 0.5 * plain.norm()


def test_the_rank_couples_bands_modalities_and_channels(fusion):
    """One band of one modality reaches the gated output of every other, by channel."""
    slots, facts = inputs()
    kernel = fusion.mixing()
    assert kernel.shape == (M, C, M, C)
    off = kernel - torch.eye(M * C).view(M, C, M, C)
    assert (off.abs() > 1e-6).all()
    assert torch.linalg.matrix_rank(off.reshape(M * C, M * C)) == RANK


def test_the_mixing_matrix_is_what_a_constant_gate_applies():
    torch.manual_seed(2)
    op = SpectralFusion(M, C, D, RANK, 6, FACTS).double()
    torch.nn.init.zeros_(op.mlp[2].weight)  # gate = w everywhere; p is 1 in every channel
    slots, facts = inputs()
    expected = torch.einsum("mcnk,nkbd,mc->bd", op.mixing(), slots, 1 + op.w)
    torch.testing.assert_close(op(slots, facts), expected)


def test_gains_are_interpolated_to_the_number_of_bands():
    for bands, expected in ((1, [2.0]), (2, [0.5, 1.0]), (3, [0.5, 2.0, 1.0]),
                            (5, [0.5, 1.25, 2.0, 1.5, 1.0])):
        assert band_gains([0.5, 2, 1], bands).tolist() == expected
    assert band_gains([3], 4).tolist() == [3.0] * 4


@pytest.mark.parametrize("bands, modalities", [(1, 1), (1, 3), (5, 1)])
def test_any_number_of_bands_and_modalities(bands, modalities):
    op = SpectralFusion(bands, modalities, D, 2, 4, FACTS)
    assert op(torch.randn(bands, modalities, B, D), torch.randn(B, FACTS)).shape == (B, D)
