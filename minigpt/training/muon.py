"""Muon: momentum whose matrices are made orthogonal before they are applied, so that every direction learns alike.

The gradient of a weight matrix is usually dominated by a few directions; a step along it hardly moves the others. Muon
replaces the matrix by the nearest one whose singular values are all 1. It is meant for matrices that map vectors to
vectors; embeddings, the head and vectors of weights are left to AdamW, which `MuonAdamW` holds beside it.

Shapes: R rows, C columns of a matrix, N matrices of equal shape.
Sources: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Amsel et al. 2025, "The Polar
Express", for the coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

COEFFICIENTS = ((8.0928, -23.6178, 17.4439), (3.6366, -2.7219, 0.5365), (2.6614, -1.9773, 0.4526))
"""a, b, c of each round, x -> a x + b x^3 + c x^5.

Each is the polynomial that comes nearest to 1 over where the round before left the singular values, beginning with
0.01 to 1; together they bring all of those to between 0.73 and 1.27. Five rounds of the usual 3.4445, -4.7750, 2.0315
end between 0.68 and 1.13.
"""


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Return, for each matrix, about the nearest one whose singular values are all 1.

    A round is a polynomial in the matrix X that acts on its singular values alone: X -> (a I + b A + c A^2) X, where
    A = X X^T. All rounds share A's eigenvectors, so they can be taken on the small square A, and X is multiplied only
    once, by the product of them all: for four times as many columns as rows, a little more than half of the work.

    Args:
        matrices: (N, R, C), R at most C, else the square is not the small one.

    Returns:
        (N, R, C); singular values that were above a hundredth of the matrix's length are from 0.73 to 1.27.
    """
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)  # no singular value is above 1 then
    gram = x @ x.mT  # (N, R, R)
    identity = torch.eye(gram.shape[1], dtype=x.dtype, device=x.device)
    product = identity.expand_as(gram)
    for number, (a, b, c) in enumerate(COEFFICIENTS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * identity  # (N, R, R)
        product = polynomial @ product if number else polynomial
        if number + 1 < len(COEFFICIENTS):
            gram = polynomial @ (gram @ polynomial)
    result: torch.Tensor = product @ x
    return result


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups that are marked `orthogonal`, AdamW for the others; one memory and one list of groups.

    Args:
        groups: Parameter groups. Those with `orthogonal: True` hold matrices and have `momentum`, `weight_decay` and
            the `dtype` that they are made orthogonal in; the others are torch's AdamW's own.
        lr: Learning rate of groups that name none.
        betas: AdamW's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0, "orthogonal": False})
        self._adamw = torch.optim.AdamW(
            [group for group in self.param_groups if not group["orthogonal"]], lr=lr, betas=betas, fused=True
        )
        # The same dictionaries, so that a rate that is set or a state that is loaded here is theirs.
        self._adamw.state = self.state
        ours = [group for group in self.param_groups if group["orthogonal"]]
        self.param_groups = [*self._adamw.param_groups, *ours]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update."""
        self._adamw.step()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._orthogonal_step(group)

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        memories = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        momentum, rate = group["momentum"], group["lr"]
        torch._foreach_lerp_(memories, gradients, 1 - momentum)
        # Nesterov: where the momentum will be after the next step, as far as this gradient tells.
        directions = torch._foreach_lerp(gradients, memories, momentum)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
        for places in _by_shape(parameters).values():
            wide = [directions[place] for place in places]
            wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT for matrix in wide]
            for place, update in zip(places, orthogonalised(torch.stack(wide).to(group["dtype"])), strict=True):
                parameter = parameters[place]
                rows, columns = parameter.shape
                # A tall matrix writes its R outputs from fewer inputs; the factor keeps each output's step alike.
                scale = max(1.0, rows / columns) ** 0.5
                parameter.add_(update if rows <= columns else update.mT, alpha=-rate * scale)


def _by_shape(parameters: list[torch.Tensor]) -> dict[tuple[int, ...], list[int]]:
    """Return the places of all matrices of one shape, upright or lying, so that they are worked on together."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, parameter in enumerate(parameters):
        places.setdefault(tuple(sorted(parameter.shape)), []).append(place)
    return places
