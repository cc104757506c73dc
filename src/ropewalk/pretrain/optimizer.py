"""Muon for the matrices inside blocks, AdamW for embeddings, head, norms and scales; or AdamW for all.

Shapes: N matrices of one shape, R rows, C columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ropewalk.model.fused import fused
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.world import ALONE, World

# Amsel et al. 2025 (Polar Express), table 1: each step is the best odd quintic for the singular values the last one left.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)

EVEN_DECAY = 0.9  # a step, of the mean squares that rows are evened out by


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
    return updates_NRC * even_factors(updates_NRC, squares_N, decay=decay)


def even_factors(updates_NRC: Tensor, squares_N: Tensor, *, decay: float) -> Tensor:
    """What `even_out` multiplies by, float32 and of the shape of `squares_N`."""
    along = 1 if squares_N.shape[1] == 1 else 2
    mean_squares = updates_NRC.float().square().mean(dim=along, keepdim=True)
    squares_N.lerp_(mean_squares, 1 - decay)
    scales = squares_N.clamp(min=1e-10).rsqrt()
    size = mean_squares.sum(dim=(1, 2), keepdim=True)
    scaled_size = (mean_squares * scales.square()).sum(dim=(1, 2), keepdim=True)
    return scales * (size / scaled_size.clamp(min=1e-10)).sqrt()


def move_fused(
    weights: list[Tensor],
    gradients_NRC: Tensor,
    averages_NRC: Tensor,
    squares_N: Tensor,
    *,
    momentum: float,
    decay: float,
    scale: float,
) -> None:
    """What `Optimizer` does with the matrices of one shape, in compiled loops: a third as much is read and written.

    decay: of the weights, where it agrees with the update. scale: what the even update is multiplied by.
    """
    # As tensors: a number would be compiled anew when it changes.
    blend, shrink, share = (averages_NRC.new_full((), number) for number in (momentum, decay, scale))
    x_NRC = fused(_blend)(averages_NRC, gradients_NRC, blend)
    tall = x_NRC.shape[1] > x_NRC.shape[2]
    x_NRC = _polar(x_NRC.mT).mT if tall else _polar(x_NRC)
    factors_N = fused(even_factors)(x_NRC, squares_N, decay=EVEN_DECAY)
    for weight, x_RC, factors in zip(weights, x_NRC, factors_N, strict=True):
        fused(_move)(weight.detach(), x_RC, factors, shrink, share)


def _blend(averages_NRC: Tensor, gradients_NRC: Tensor, momentum: Tensor) -> Tensor:
    """Bring the averages up to date. Returns Nesterov's, of norm just below 1, in bfloat16."""
    averages_NRC.lerp_(gradients_NRC, 1 - momentum)
    updates_NRC = gradients_NRC.lerp(averages_NRC, momentum)
    return (updates_NRC / (updates_NRC.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)).bfloat16()


def _move(weight_RC: Tensor, x_RC: Tensor, factors: Tensor, decay: Tensor, scale: Tensor) -> None:
    update_RC = x_RC.float() * factors
    weight_RC.sub_(weight_RC * (update_RC * weight_RC > 0) * decay)
    weight_RC.sub_(update_RC * scale)


@dataclass(frozen=True)
class _Share:
    """The rows of a weight that this process' AdamW moves; `part` is a view of them. A number counts as one row."""

    name: str
    weight: Tensor
    rows: slice
    part: Tensor


class Optimizer:
    """Both optimizers behind one `step`, with a state that is a flat dictionary of tensors.

    In a world of several processes each moves its share of the weights, and keeps the state of no others (Rajbhandari et
    al. 2020, stage 1): Muon whole matrices, AdamW rows. The state that is saved is whole, so any number may go on with it.
    """

    def __init__(
        self,
        model: Transformer,
        rates: LearningRates,
        *,
        weight_decay: float,
        matrices: Literal["muon", "adamw"] = "muon",
        world: World = ALONE,
    ) -> None:
        """Take `model`'s weights over, but for those that are frozen.

        matrices: what moves the matrices inside blocks. A model that was trained with AdamW is tuned with AdamW: Muon
            moves every direction of a matrix by the same amount, also those that its training had left alone.
        """
        self.rates, self.weight_decay, self.world = rates, weight_decay, world
        self.compiled = model.compiled
        kinds: dict[str, list[tuple[str, Tensor]]] = defaultdict(list)
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                kinds[_kind(name, weight, tied=model.config.tied_head)].append((name, weight))
        self.by_shape: dict[tuple[int, ...], list[tuple[str, Tensor]]] = defaultdict(list)
        if matrices == "muon":
            for name, weight in kinds.pop("matrix"):
                self.by_shape[tuple(weight.shape)].append((name, weight))
        self.by_adamw = [one for named in kinds.values() for one in named]
        self.shares: list[_Share] = []
        groups = []
        for kind, named in kinds.items():
            rate, betas = _rate(kind, rates)
            decay = weight_decay if kind == "matrix" else 0.0
            shares = [share for name, weight in named if (share := self._share(name, weight)) is not None]
            parts = [share.part for share in shares]
            self.shares += shares
            if parts:
                groups.append({"params": parts, "lr": rate, "peak": rate, "betas": betas, "weight_decay": decay})
        self.adamw = torch.optim.AdamW(groups, eps=1e-10, fused=True) if groups else None
        self.moved = False
        self.momentum, self.squares = {}, {}
        for shape, named in self.by_shape.items():
            mine = self._mine(len(named))
            self.momentum[shape] = _zeros((mine.stop - mine.start, *shape), named)
            self.squares[shape] = _zeros(_side(mine.stop - mine.start, shape), named)

    @torch.no_grad()
    def step(self, *, rate_fraction: float, momentum: float) -> None:
        """Apply the gradients at `rate_fraction` of the peak rates, then clear them."""
        self.moved = True
        self._adamw(rate_fraction)
        for shape, named in self.by_shape.items():
            self._muon(shape, named[self._mine(len(named))], self.rates.matrix * rate_fraction, momentum)
        for _, weight in (one for named in (*self.by_shape.values(), self.by_adamw) for one in named):
            weight.grad = None
        self._share_weights()

    def _adamw(self, rate_fraction: float) -> None:
        if self.adamw is None:
            return
        for group in self.adamw.param_groups:
            group["lr"] = group["peak"] * rate_fraction
        for share in self.shares:
            gradient = share.weight.grad
            share.part.grad = None if gradient is None else _rows(gradient)[share.rows]
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def _muon(self, shape: tuple[int, ...], named: list[tuple[str, Tensor]], rate: float, momentum: float) -> None:
        """Nesterov momentum, orthogonalised, with decay only where it agrees with the update (cautious decay)."""
        if not named:
            return
        gradients_NRC = torch.stack([_gradient(weight) for _, weight in named])
        averages_NRC, squares_N = self.momentum[shape], self.squares[shape]
        decay, scale = rate * self.weight_decay, rate * max(1.0, shape[0] / shape[1]) ** 0.5
        if self.compiled and gradients_NRC.is_cuda and gradients_NRC[0].numel() >= LEAST_FUSED:
            weights = [weight for _, weight in named]
            move_fused(weights, gradients_NRC, averages_NRC, squares_N, momentum=momentum, decay=decay, scale=scale)
            return
        averages_NRC.lerp_(gradients_NRC, 1 - momentum)
        updates_NRC = orthogonalize(gradients_NRC.lerp_(averages_NRC, momentum))
        updates_NRC = even_out(updates_NRC, squares_N, decay=EVEN_DECAY)
        for (_, weight), update_RC in zip(named, updates_NRC, strict=True):
            if self.weight_decay:
                weight.sub_(weight * (update_RC * weight > 0), alpha=decay)
            weight.sub_(update_RC, alpha=scale)

    def _share_weights(self) -> None:
        """Tell the other processes what became of the weights here, and hear of theirs."""
        moved = []
        for named in self.by_shape.values():
            for rank, dealt in enumerate(self.world.parts(len(named))):
                moved += [(rank, weight.detach()) for _, weight in named[dealt]]
        for _, weight in self.by_adamw:
            rows = _rows(weight.detach())
            moved += [(rank, rows[dealt]) for rank, dealt in enumerate(self._dealt(weight)) if dealt.stop > dealt.start]
        self.world.share(moved)

    def reset(self) -> None:
        """Forget all gradients seen."""
        self.moved = False
        if self.adamw is not None:
            self.adamw.state.clear()
        for average in (*self.momentum.values(), *self.squares.values()):
            average.zero_()

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, whole: all processes of a world must ask together."""
        tensors = {}
        for shape, named in self.by_shape.items():
            parts = self.world.parts(len(named))
            tensors[f"momentum.{_title(shape)}"] = self.world.collect(self.momentum[shape], parts)
            tensors[f"squares.{_title(shape)}"] = self.world.collect(self.squares[shape], parts)
        mine = {share.name: share.part for share in self.shares}
        held = self.adamw.state if self.adamw else {}
        step = next((state["step"] for state in held.values()), torch.zeros(()))  # they all step together
        for name, weight in self.by_adamw if self.moved else ():
            part = mine.get(name, _rows(weight.detach())[:0])
            for key in ("exp_avg", "exp_avg_sq"):
                averages = held[part][key] if part in held else torch.zeros_like(part)
                tensors[f"adamw.{name}.{key}"] = self.world.collect(averages, self._dealt(weight)).view(weight.shape)
            tensors[f"adamw.{name}.step"] = step
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state saved by `state`."""
        for shape, named in self.by_shape.items():
            mine = self._mine(len(named))
            self.momentum[shape].copy_(tensors[f"momentum.{_title(shape)}"][mine])
            self.squares[shape].copy_(tensors[f"squares.{_title(shape)}"][mine])
        self.moved = any(name.startswith("adamw.") for name in tensors)
        if self.adamw is None or not self.moved:
            return
        state = {}
        for index, share in enumerate(self.shares):
            averages = {key: _rows(tensors[f"adamw.{share.name}.{key}"])[share.rows] for key in ("exp_avg", "exp_avg_sq")}
            state[index] = {"step": tensors[f"adamw.{share.name}.step"], **averages}
        self.adamw.load_state_dict({**self.adamw.state_dict(), "state": state})

    def _mine(self, count: int) -> slice:
        return self.world.parts(count)[self.world.rank]

    def _dealt(self, weight: Tensor) -> list[slice]:
        """Which of a weight's rows each process moves: what is small is not worth dealing out."""
        count = len(_rows(weight.detach()))
        if weight.numel() >= LEAST_DEALT:
            return self.world.parts(count)
        return [slice(0, count), *[slice(count, count)] * (self.world.size - 1)]

    def _share(self, name: str, weight: Tensor) -> _Share | None:
        """What this process moves of a weight, if anything."""
        rows = self._dealt(weight)[self.world.rank]
        part = _rows(weight.detach())[rows]
        return _Share(name, weight, rows, part) if len(part) else None


LEAST_DEALT = 4096  # weights
LEAST_FUSED = 4096  # weights: fewer are not worth compiling for


def _rows(tensor: Tensor) -> Tensor:
    """A tensor with a first axis."""
    return tensor.view(1) if tensor.ndim == 0 else tensor


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


def optimizer_for(
    model: Transformer, rates: Rates, *, adamw_rate: float | None, weight_decay: float = 0.0, world: World = ALONE
) -> Optimizer:
    """Muon and AdamW at four rates, or AdamW alone where there is one for it."""
    if adamw_rate is not None:
        one = LearningRates(matrix=adamw_rate, embedding=adamw_rate, head=adamw_rate, norm=adamw_rate)
        return Optimizer(model, one, weight_decay=weight_decay, matrices="adamw", world=world)
    four = LearningRates(rates.matrix_rate, rates.embedding_rate, rates.head_rate, rates.norm_rate)
    return Optimizer(model, four, weight_decay=weight_decay, world=world)


def _kind(name: str, weight: Tensor, *, tied: bool) -> str:
    """Which of the learning rates a weight takes."""
    last = name.rpartition(".")[2]
    if last.endswith("_scale"):
        return last
    if "smear_gate" in name:
        return "smear_scale"
    if "embed_values" in name:
        return "value_embedding"
    if name in ("lm_head.weight", "value_head.weight", "model.embed_positions.weight") or (
        tied and name == "model.embed_tokens.weight"
    ):
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
