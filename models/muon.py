"""The Muon optimizer (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for convolutions.

torch.optim.Muon takes matrices alone, and uses one quintic for all steps of its iteration; with one for each, four steps are enough.
"""

from collections import defaultdict

import torch

# Odd quintics a x + b x^3 + c x^5, each the best for the range that the one before leaves (arXiv 2505.16932), for singular values from
# .004 of the norm up: four steps end in .87 ... 1.16.
QUINTICS = ((8.3410, -24.5974, 18.2230), (3.9780, -2.9654, 0.5643), (3.3275, -2.4952, 0.5108), (2.3086, -1.6760, 0.4196))


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Return approximately U V^T of the singular value decomposition U S V^T of each matrix, (..., m, n) float32.

    A quintic of X is Q X with a polynomial Q of X X^T, which commutes with those of the other quintics. So they are all multiplied as small
    square matrices, and X itself, which is nine times as wide in a 3x3 convolution, is multiplied only twice.
    """
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    gram = x @ x.mT
    product = torch.eye(x.shape[-2]).to(x)
    for a, b, c in QUINTICS:
        q = b * gram + c * (gram @ gram)
        q.diagonal(dim1=-2, dim2=-1).add_(a)
        product = q @ product
        gram = q @ gram @ q
    x = product @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weights (out, in, ...): Nesterov momentum, orthogonalized; weights of one shape are updated at once.

    Args:
        lr: the learning rate, for a step whose matrix has singular values of 1.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        """Update the weights by their gradients; there is no closure."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                by_shape[p.shape].append(p)
            for shape, weights in by_shape.items():
                gradients = [p.grad for p in weights]
                momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in weights]
                torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
                updates = torch._foreach_lerp(gradients, momenta, group["momentum"])
                steps = orthogonalize(torch.stack([update.flatten(1) for update in updates]))
                scale = max(1, steps.shape[1] / steps.shape[2]) ** 0.5
                for p, step in zip(weights, steps, strict=True):
                    p.add_(step.view(shape), alpha=-group["lr"] * scale)
