"""Adam on one flat parameter vector: one kernel call a step, whatever the model.

The parameters of a module become views of one contiguous vector, and their gradients
views of another, so that a step costs one fused call and saving costs one copy.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["FlatAdam"]


class FlatAdam:
    """Adam (Kingma & Ba 2015) with L2 penalty, in torch's fused kernel.

    Args:
        parameters: parameters that become views of :attr:`values`; of one type and device.
        learning_rate: step size.
        epsilon: term added to the denominator.
        weight_decay: weight of the L2 penalty added to the gradient.
        betas: decay of the two moments.

    Attributes:
        values: all parameters, flat.
        gradients: all gradients, flat.
        first, second: moments, flat.
        step_count: number of steps, a tensor without axes.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> optimizer = FlatAdam(layer.parameters(), learning_rate=0.1)
        >>> optimizer.zero_grad(); layer(torch.ones(1, 2)).sum().backward(); optimizer.step()
        >>> int(optimizer.step_count)
        1
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        members = [parameter for parameter in parameters if parameter.requires_grad]
        size = sum(parameter.numel() for parameter in members)
        like = members[0].detach()
        self.values = torch.empty(size, dtype=like.dtype, device=like.device)
        self.gradients = torch.zeros_like(self.values)
        self.first = torch.zeros_like(self.values)
        self.second = torch.zeros_like(self.values)
        self.step_count = torch.zeros((), dtype=torch.float32, device=like.device)
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.weight_decay, self.betas = weight_decay, betas
        start = 0
        for parameter in members:
            end = start + parameter.numel()
            view = self.values[start:end].view_as(parameter)
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = self.gradients[start:end].view_as(parameter)
            start = end

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        self.gradients.zero_()

    def clip(self, largest_norm: float) -> None:
        """Scale the gradients so that their norm is at most ``largest_norm``."""
        norm = torch.linalg.vector_norm(self.gradients)
        self.gradients.mul_((largest_norm / (norm + 1e-6)).clamp(max=1.0))

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters."""
        self.step_count.add_(1)
        torch._fused_adam_(
            [self.values],
            [self.gradients],
            [self.first],
            [self.second],
            [],
            [self.step_count],
            lr=self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Return what must survive an interruption."""
        return {
            "values": self.values,
            "first": self.first,
            "second": self.second,
            "step_count": self.step_count,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a state, in place."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
