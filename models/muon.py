"""The Muon optimizer (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for convolutions.

torch.optim.Muon takes matrices alone, and one quintic for all steps of its iteration; with a quintic for each, four steps do.
"""

import torch

# Odd quintics a x + b x^3 + c x^5, each the best for the range that the one before leaves (arXiv 2505.16932), for singular values from
# .004 of the norm up: four steps end in .87 ... 1.16.
QUINTICS = ((8.3410, -24.5974, 18.2230), (3.9780, -2.9654, 0.5643), (3.3275, -2.4952, 0.5108), (2.3086, -1.6760, 0.4196))


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """U V^T, nearly, of the singular value decomposition U S V^T of (m, n); in the matrix's precision."""
    x = matrix / (matrix.norm() * 1.01 + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for a, b, c in QUINTICS:
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized, for weights (out, in, ...).

    Args:
        lr: of a step whose matrix has singular values of 1.
        precision: that of the orthogonalization; bfloat16 is enough.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, precision: torch.dtype = torch.float32):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(momentum, group["momentum"]).flatten(1)
                scale = max(1, update.shape[0] / update.shape[1]) ** 0.5
                p.add_(orthogonalize(update.to(self.precision)).to(p).view_as(p), alpha=-group["lr"] * scale)
