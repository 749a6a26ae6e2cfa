r"""SMORE: Spectrum-based Modality Representation Fusion Graph Convolutional Network.

Ong, Khong; WSDM 2025; arXiv 2412.14978. Content is filtered in the spectrum of its channels:
each modality on its own against its noise, and all of them fused, where a convolution of channels
is a product of spectra. F is the orthonormal Fourier transform over the d channels.

.. math::
    \text{denoise}\quad & \hat F_m = \mathcal F(W_1^m X_m + b_1^m),\qquad
        C_m = \mathcal F^{-1}(\hat F_m \odot w_m) \\
    \text{fuse}\quad & C_f = \mathcal F^{-1}\big( \textstyle\prod_m \hat F_m \odot w_f \big) \\
    \text{item view}\quad & V^i_k = T^{(k)} \big( E_i \odot \sigma(W_2^k C_k + b_2^k) \big),
        \qquad V^u_k = \hat R\, V^i_k,\qquad k \in \{1..M, f\} \\
    & T^{(f)}_{ij} = \max_m T^{(m)}_{ij} \text{ over the edges of any modality} \\
    \text{attend}\quad & \alpha_m = \mathrm{softmax}\big( Q_m \tanh(W_3^m V_f + b_3^m) \big),
        \qquad V'_m = \alpha_m \odot V_m,\quad V'_f = V_f \\
    \text{prefer}\quad & s = \tfrac{1}{M+1} \textstyle\sum_k
        \mathrm{drop}\big( \sigma(W_4^k c + b_4^k) \big) \odot V'_k \\
    \text{score}\quad & \langle c_u + s_u, c_i + s_i \rangle

c is LightGCN's of the ids, and the loss that of side_views.py.

Shapes: U users, I items, M modalities, d width; X_m (I, f_m); w (d // 2 + 1,) complex; Q_m (d, d);
E, C, V, c, s (U, d) and (I, d).

Departures. The attention weighs the modalities that the fused view stands on, so its softmax runs
across them, for every channel (`view_attention: modalities`). The released code, on which the
published numbers rest, normalises over the d channels of each modality instead, which shrinks
every single-modality view about d-fold (`view_attention: channels`, as the published settings of
the Amazon profiles have it). The released code knows image and text alone; here the product, the
union and the mean take any number. With one modality the fused view is a second filter of its
spectrum over its own graph, and across the modalities its attention is 1. A missing modality is a
factor of 1 in the product, not of 0, and adds no edge to the union; an item without any has no
fused content.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ssr.graph.union import edge_union
from recbole_ssr.model.item_graph import modality_graph
from recbole_ssr.model.propagation import smoothed
from recbole_ssr.model.side_views import SideViews, knn_by_modality

_SOFTMAX_DIM = {"modalities": 1, "channels": 2}  # of logits (n, M, d)


class SMORE(SideViews):
    """Settings: properties/model/SMORE.yaml."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d, features = self.width, dataset.item_features
        names = features.modalities
        self.softmax_dim = _SOFTMAX_DIM[config["view_attention"]]
        ks = knn_by_modality(config["knn_k"], names)
        graphs = [modality_graph(config, features, c, k) for c, k in zip(names, ks)]
        union = edge_union(graphs, [features.has_feature(c) for c in names])
        self.T = nn.ModuleList([*graphs, union])
        # Real and imaginary parts; complex parameters are no food for every optimiser.
        self.w = nn.ParameterList(torch.randn(d // 2 + 1, 2) for _ in self.T)
        self.purify = nn.ModuleList(nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for _ in self.T)
        self.attend = nn.ModuleList(
            nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, d, bias=False)) for _ in names)
        self.prefer, self.gate_dropout = self.gates(len(self.T)), config["view_dropout"]

    def item_views(self) -> list[Tensor]:
        layers = zip(self.filtered(), self.purify, self.T)
        return [smoothed(T, self.E_i * purify(C)) for C, purify, T in layers]

    def filtered(self) -> list[Tensor]:
        """Return every modality's content and the fused one. Shapes: M + 1 times (I, d)."""
        spectra = [torch.fft.rfft(X.through(project), dim=1, norm="ortho")
                   for X, project in zip(self.X, self.project)]
        spectra.append(self._product(spectra))
        return [torch.fft.irfft(F * torch.view_as_complex(w), n=self.width, dim=1, norm="ortho")
                for F, w in zip(spectra, self.w)]

    def side(self, views: Tensor, gate: Tensor) -> Tensor:
        single, fused = views[:, :-1], views[:, -1]
        logits = torch.stack([attend(fused) for attend in self.attend], dim=1)
        attended = torch.softmax(logits, self.softmax_dim) * single
        views = torch.cat([attended, fused[:, None]], dim=1)
        return (gate * views).mean(1)

    def _product(self, spectra: list[Tensor]) -> Tensor:
        """Multiply the spectra of the modalities that an item has. Shapes: all (I, d // 2 + 1)."""
        product, somewhere = 1.0, 0.0
        for F, X in zip(spectra, self.X):
            # Spectra of missing content are 0, so that adding 1 there makes them 1.
            product, somewhere = product * (F + (1 - X.present)), somewhere + X.present
        return product * (somewhere > 0)
