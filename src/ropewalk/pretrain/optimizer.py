"""Muon for the matrices inside blocks, AdamW for embeddings, head, norms and scales; or AdamW for all.

Shapes: N matrices of one shape, R rows, C columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ropewalk.model.transformer import Transformer

# Amsel et al. 2025 (Polar Express), table 1: each step is the best odd quintic for the singular values the last one left.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)


@dataclass(frozen=True)
class LearningRates:
    """Peak learning rates by kind of parameter."""

    matrix: float
    embedding: float
    head: float
    norm: float


def orthogonalize(matrices_NRC: Tensor) -> Tensor:
    """Replace the singular values of each matrix by values near 1, keeping its singular vectors.

    Five Polar Express steps on the wide side; the smallest singular value it can lift is about 1e-3 of the norm. On a GPU
    in bfloat16, ten times as fast there, which the steps bear (Jordan 2024).
    """
    tall = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x_NRC = matrices_NRC.mT if tall else matrices_NRC
    x_NRC = x_NRC / (x_NRC.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)
    if x_NRC.is_cuda:
        x_NRC = x_NRC.bfloat16()
    # The iteration on Gram matrices loses half the digits: too many of bfloat16's.
    long = x_NRC.shape[2] >= 2 * x_NRC.shape[1] and x_NRC.dtype == torch.float32
    x_NRC = _polar_by_gram(x_NRC) if long else _polar(x_NRC)
    return (x_NRC.mT if tall else x_NRC).to(matrices_NRC.dtype)


def _polar(x_NRC: Tensor) -> Tensor:
    """Each step multiplies by an even polynomial of the singular values, written in the Gram matrix."""
    for a, b, c in POLAR_EXPRESS:
        gram_NRR = x_NRC @ x_NRC.mT
        polynomial_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, polynomial_NRR, x_NRC, beta=a)
    return x_NRC


def _polar_by_gram(x_NRC: Tensor) -> Tensor:
    """The same, with the matrices themselves multiplied once, at the end: cheaper from two columns a row.

    All polynomials of one Gram matrix commute, so the next Gram matrix is polynomial^2 @ gram.
    """
    gram_NRR = x_NRC @ x_NRC.mT
    product_NRR = None
    for step, (a, b, c) in enumerate(POLAR_EXPRESS):
        polynomial_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        polynomial_NRR.diagonal(dim1=1, dim2=2).add_(a)
        product_NRR = polynomial_NRR if product_NRR is None else polynomial_NRR @ product_NRR
        if step + 1 < len(POLAR_EXPRESS):
            gram_NRR = polynomial_NRR @ gram_NRR @ polynomial_NRR
    assert product_NRR is not None
    return product_NRR @ x_NRC


def even_out(updates_NRC: Tensor, squares_N: Tensor, *, decay: float) -> Tensor:
    """Divide each row (of a wide matrix: each column) by the size it usually has; the matrix' own size stays.

    Orthogonal updates move some neurons by more than others (Li et al. 2025, NorMuon). `squares_N` holds the running mean
    squares, (N, R, 1) or (N, 1, C), and is brought up to date.
    """
    along = 1 if squares_N.shape[1] == 1 else 2
    mean_squares = updates_NRC.square().mean(dim=along, keepdim=True)
    squares_N.lerp_(mean_squares, 1 - decay)
    scales = squares_N.clamp(min=1e-10).rsqrt()
    size = mean_squares.sum(dim=(1, 2), keepdim=True)
    scaled_size = (mean_squares * scales.square()).sum(dim=(1, 2), keepdim=True)
    return updates_NRC * (scales * (size / scaled_size.clamp(min=1e-10)).sqrt())


class Optimizer:
    """Both optimizers behind one `step`, with a state that is a flat dictionary of tensors."""

    def __init__(
        self, model: Transformer, rates: LearningRates, *, weight_decay: float, matrices: Literal["muon", "adamw"] = "muon"
    ) -> None:
        """Take `model`'s weights over.

        matrices: what moves the matrices inside blocks. A model that was trained with AdamW is tuned with AdamW: Muon
            moves every direction of a matrix by the same amount, also those that its training had left alone.
        """
        self.rates, self.weight_decay = rates, weight_decay
        kinds: dict[str, list[tuple[str, Tensor]]] = defaultdict(list)
        for name, weight in model.named_parameters():
            kinds[_kind(name, weight, tied=model.config.tied_head)].append((name, weight))
        self.by_shape: dict[tuple[int, ...], list[tuple[str, Tensor]]] = defaultdict(list)
        if matrices == "muon":
            for name, weight in kinds.pop("matrix"):
                self.by_shape[tuple(weight.shape)].append((name, weight))
        self.adamw_names = [name for named in kinds.values() for name, _ in named]
        groups = []
        for kind, named in kinds.items():
            rate, betas = _rate(kind, rates)
            decay = weight_decay if kind == "matrix" else 0.0
            weights = [weight for _, weight in named]
            groups.append({"params": weights, "lr": rate, "peak": rate, "betas": betas, "weight_decay": decay})
        self.adamw = torch.optim.AdamW(groups, eps=1e-10, fused=True)
        self.momentum = {shape: _zeros((len(named), *shape), named) for shape, named in self.by_shape.items()}
        self.squares = {shape: _zeros(_side(len(named), shape), named) for shape, named in self.by_shape.items()}

    @torch.no_grad()
    def step(self, *, rate_fraction: float, momentum: float) -> None:
        """Apply the gradients at `rate_fraction` of the peak rates, then clear them."""
        for group in self.adamw.param_groups:
            group["lr"] = group["peak"] * rate_fraction
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        for shape, named in self.by_shape.items():
            self._muon(shape, named, self.rates.matrix * rate_fraction, momentum)

    def _muon(self, shape: tuple[int, ...], named: list[tuple[str, Tensor]], rate: float, momentum: float) -> None:
        """Nesterov momentum, orthogonalised, with decay only where it agrees with the update (cautious decay)."""
        gradients_NRC = torch.stack([_gradient(weight) for _, weight in named])
        averages_NRC = self.momentum[shape].lerp_(gradients_NRC, 1 - momentum)
        updates_NRC = orthogonalize(gradients_NRC.lerp_(averages_NRC, momentum))
        updates_NRC = even_out(updates_NRC, self.squares[shape], decay=0.9)
        scale = rate * max(1.0, shape[0] / shape[1]) ** 0.5
        for (_, weight), update_RC in zip(named, updates_NRC, strict=True):
            if self.weight_decay:
                weight.sub_(weight * (update_RC * weight > 0), alpha=rate * self.weight_decay)
            weight.sub_(update_RC, alpha=scale)
            weight.grad = None

    def reset(self) -> None:
        """Forget all gradients seen."""
        self.adamw.state.clear()
        for average in (*self.momentum.values(), *self.squares.values()):
            average.zero_()

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        tensors = {}
        for shape in self.by_shape:
            tensors[f"momentum.{_title(shape)}"] = self.momentum[shape]
            tensors[f"squares.{_title(shape)}"] = self.squares[shape]
        for index, state in self.adamw.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"adamw.{self.adamw_names[index]}.{key}"] = value
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state saved by `state`."""
        for shape in self.momentum:
            self.momentum[shape].copy_(tensors[f"momentum.{_title(shape)}"])
            self.squares[shape].copy_(tensors[f"squares.{_title(shape)}"])
        keys = ("step", "exp_avg", "exp_avg_sq")
        state = {index: {key: tensors[f"adamw.{name}.{key}"] for key in keys} for index, name in enumerate(self.adamw_names)}
        self.adamw.load_state_dict({**self.adamw.state_dict(), "state": state})


class Rates(Protocol):
    """What a stage's options, or the dial, say of peak learning rates."""

    @property
    def matrix_rate(self) -> float: ...
    @property
    def embedding_rate(self) -> float: ...
    @property
    def head_rate(self) -> float: ...
    @property
    def norm_rate(self) -> float: ...


def optimizer_for(model: Transformer, rates: Rates, *, adamw_rate: float | None, weight_decay: float = 0.0) -> Optimizer:
    """Muon and AdamW at four rates, or AdamW alone where there is one for it."""
    if adamw_rate is not None:
        one = LearningRates(matrix=adamw_rate, embedding=adamw_rate, head=adamw_rate, norm=adamw_rate)
        return Optimizer(model, one, weight_decay=weight_decay, matrices="adamw")
    four = LearningRates(rates.matrix_rate, rates.embedding_rate, rates.head_rate, rates.norm_rate)
    return Optimizer(model, four, weight_decay=weight_decay)


def _kind(name: str, weight: Tensor, *, tied: bool) -> str:
    """Which of the learning rates a weight takes."""
    last = name.rpartition(".")[2]
    if last.endswith("_scale"):
        return last
    if "smear_gate" in name:
        return "smear_scale"
    if "embed_values" in name:
        return "value_embedding"
    if name in ("lm_head.weight", "model.embed_positions.weight") or (tied and name == "model.embed_tokens.weight"):
        return "head"
    if name == "model.embed_tokens.weight":
        return "embedding"
    return "norm" if weight.ndim == 1 else "matrix"


BETAS = (0.8, 0.95)
# Of the weights that only the extras have: the share of the embedding's rate, and betas (nanochat, commit 92d63d4).
EXTRAS = {
    "value_embedding": (0.5, BETAS),
    "residual_scale": (0.025, BETAS),
    "start_scale": (2.5, (0.96, 0.95)),
    "smear_scale": (1.0, BETAS),
    "backout_scale": (1.0, BETAS),
}


def _rate(kind: str, rates: LearningRates) -> tuple[float, tuple[float, float]]:
    """Peak rate and betas of AdamW."""
    if kind in EXTRAS:
        share, betas = EXTRAS[kind]
        return share * rates.embedding, betas
    return getattr(rates, kind), BETAS


def _side(count: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of the mean squares that `even_out` keeps for `count` matrices: of the longer side."""
    return (count, shape[0], 1) if shape[0] >= shape[1] else (count, 1, shape[1])


def _zeros(shape: tuple[int, ...], named: list[tuple[str, Tensor]]) -> Tensor:
    """Where these weights are."""
    return torch.zeros(shape, device=named[0][1].device)


def _title(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None, "every matrix takes part in every step"
    return weight.grad
