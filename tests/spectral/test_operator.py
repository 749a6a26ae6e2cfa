import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.spectral.band_sums import band_sums, batched_sums
from recbole_ssr.spectral.operator import BandOperator


def literal(op, B, q):
    """The operator's equations with every F_m written out."""
    M, r = op.Wq.shape
    B = B.transpose(0, 1)
    kappa = torch.stack([torch.stack([(op.Wq[m] * op.Wk[n]).sum() / r**0.5 for n in range(M)])
                         for m in range(M)])
    K = torch.softmax(kappa, dim=0)
    v = sum(op.rho.softmax(0)[k] * torch.exp(0.1 * torch.tanh(op.g[k])) for k in range(r))
    s = torch.sigmoid(op.s[2](torch.relu(op.s[0](q))))
    F = [s * v * sum(K[m, n] * B[:, n] for n in range(M)) for m in range(M)]
    a = op.a[2](torch.relu(op.a[0](torch.cat([q, sum(F) / M], dim=1))))
    w = 1 + op.gamma * torch.tanh(a)
    mixed = sum(w[:, m : m + 1] * F[m] for m in range(M))
    eta = (sum(F).norm(dim=1, keepdim=True) + 1e-6) / (mixed.norm(dim=1, keepdim=True) + 1e-6)
    return eta * mixed


@pytest.fixture
def operator():
    torch.manual_seed(5)
    op = BandOperator(n_bands=4, width=12, rank=3, gate_scale=0.1).double()
    for p in op.parameters():
        torch.nn.init.normal_(p)
    return op


def inputs(branches=1):
    B, q = torch.randn(4, 7, 12).double(), torch.randn(7, 12).double()
    masks = torch.ones(branches, 7, 4).double()
    masks[1:] = torch.randint(3, (branches - 1, 7, 4))
    return B, q, masks


def test_weighted_sums_equal_the_operator_written_out(operator):
    B, q, masks = inputs(branches=3)
    fused = operator(B, q, masks)
    for branch, mask in zip(fused, masks):
        torch.testing.assert_close(branch, literal(operator, B * mask.T[:, :, None], q))


def test_without_a_gate_the_bands_cancel(operator):
    """What ssr.md calls the release's main fault is a property of this profile: it must hold."""
    operator.gamma.data.zero_()
    B, q, masks = inputs()
    torch.testing.assert_close(operator(B, q, masks), operator(B.flip(0), q, masks))


def test_with_a_gate_the_bands_matter(operator):
    operator.gamma.data.fill_(0.5)
    B, q, masks = inputs()
    assert (operator(B, q, masks) - operator(B.flip(0), q, masks)).abs().max() > 1e-3


def test_the_gate_keeps_the_norm_of_the_ungated_sum(operator):
    B, q, masks = inputs()
    with_gate = operator(B, q, masks).norm(dim=-1)
    operator.gamma.data.zero_()
    torch.testing.assert_close(with_gate, operator(B, q, masks).norm(dim=-1), rtol=1e-4, atol=0)


def test_gradient_of_the_band_sums():
    B = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(band_sums(B, weights), batched_sums(B, weights))
    assert gradcheck(band_sums, (B, weights))


def test_regulariser_by_hand():
    op = BandOperator(n_bands=2, width=4, rank=1, gate_scale=0.1)
    op.Wq.data = torch.tensor([[1.0], [2.0]])
    op.Wk.data = torch.tensor([[3.0], [-1.0]])
    op.g.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert op.regulariser().item() == pytest.approx((9 + 1 + 36 + 4) / 4 + 30 / 4)
