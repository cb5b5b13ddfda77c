"""Muon: momentum, made orthogonal before it is applied, so that a weight matrix learns in all directions at one rate.

M <- m M + (1 - m) G,  W <- W - lr * sqrt(max(1, rows / columns)) * orthogonalise(m M + (1 - m) G)

for a weight matrix W with gradient G and momentum m; weight decay is as in AdamW.

The gradient of a weight matrix is usually dominated by a few directions, and a step along it hardly changes the others.
Muon replaces the momentum matrix U S V^T by U V^T, the nearest matrix whose singular values are all 1. It is meant for
matrices that map vectors to vectors. `MuonAdamW` applies AdamW to everything else: embeddings, output matrix, vectors.

Shapes: R rows, C columns of a matrix, N matrices of equal shape.
Sources: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Amsel et al. 2025, "The Polar
Express", for the coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from minigpt.training.eager import AdamW, Eager
from minigpt.training.sharding import is_divided, own_part, part_like, whole_of

COEFFICIENTS = ((8.0928, -23.6178, 17.4439), (3.6366, -2.7219, 0.5365), (2.6614, -1.9773, 0.4526))
"""a, b, c of the polynomial a x + b x^3 + c x^5 of each iteration.

Each polynomial is the one closest to 1 over the range in which the iteration before left the singular values, beginning
with 0.01 to 1. Together they bring all of these to between 0.73 and 1.27. Five iterations of the usual 3.4445, -4.7750,
2.0315 end between 0.68 and 1.13.
"""


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """Return, for each matrix, approximately the nearest matrix whose singular values are all 1.

    An iteration X -> (a I + b A + c A^2) X with A = X X^T changes only the singular values of X. The matrices of all
    iterations share the eigenvectors of A, so they are computed from the small square A, and X is multiplied once, by
    their product. With four times as many columns as rows that is a little more than half of the work.

    Args:
        matrices: (N, R, C) with R <= C, otherwise A is not the smaller square.

    Returns:
        (N, R, C); singular values above a hundredth of the matrix's Frobenius norm become 0.73 to 1.27.
    """
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)  # now no singular value is above 1
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


class MuonAdamW(Eager):
    """Muon for the groups with `orthogonal: True`, AdamW for the others, with one state and one list of groups.

    Args:
        groups: Parameter groups. Those with `orthogonal: True` hold matrices and have `momentum`, `weight_decay` and
            `dtype`, the type to orthogonalise in. The others are groups for torch's AdamW.
        lr: Learning rate of groups that have none.
        betas: Betas of AdamW.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0, "orthogonal": False})
        self._adamw = AdamW(
            [group for group in self.param_groups if not group["orthogonal"]], lr=lr, betas=betas, fused=True
        )
        # Both optimizers share these dictionaries, so a learning rate or a state that is set here reaches AdamW too.
        self._adamw.state = self.state
        orthogonal = [group for group in self.param_groups if group["orthogonal"]]
        self.param_groups = [*self._adamw.param_groups, *orthogonal]

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
        # of a matrix that is divided between processes, each applies the momentum to its own part
        momenta = [own_part(self.state[parameter]["momentum"]) for parameter in parameters]
        gradients = [own_part(parameter.grad) for parameter in parameters if parameter.grad is not None]
        parts = [own_part(parameter) for parameter in parameters]
        momentum, rate = group["momentum"], group["lr"]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        # Nesterov momentum: the momentum after one more step with the same gradient
        directions = torch._foreach_lerp(gradients, momenta, momentum)
        if group["weight_decay"]:
            torch._foreach_mul_(parts, 1 - rate * group["weight_decay"])
        for places in _by_shape(parameters).values():
            wide = [whole_of(directions[place], parameters[place]) for place in places]
            wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT for matrix in wide]
            for place, update in zip(places, orthogonalise(torch.stack(wide).to(group["dtype"])), strict=True):
                rows, columns = parameters[place].shape
                # a tall matrix has fewer inputs than outputs; the factor gives each output a step of the same size
                scale = max(1.0, rows / columns) ** 0.5
                own = part_like(update if rows <= columns else update.mT, parameters[place])
                parts[place].add_(own, alpha=-rate * scale)


def _by_shape(parameters: list[torch.Tensor]) -> dict[tuple[int, ...], list[int]]:
    """Group the positions of matrices by shape, with (R, C) like (C, R), so that equal ones are processed together.

    Matrices that are divided between processes are processed one by one: each has to be put together first.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, parameter in enumerate(parameters):
        alone = (place,) if is_divided(parameter) else ()
        places.setdefault((*sorted(parameter.shape), *alone), []).append(place)
    return places
