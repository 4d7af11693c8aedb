"""Adam on one flat parameter vector: one kernel call a step, whatever the model.

The parameters of a module become views of one contiguous vector, and their gradients
views of another, so that a step costs one fused call and saving costs one copy. On an
accelerator each view starts at a multiple of :data:`ALIGNMENT` numbers, since kernels there
read several numbers at once; the gaps hold zeros, which Adam leaves at zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FlatAdam"]

ALIGNMENT = 64


class FlatAdam:
    """Adam (Kingma & Ba 2015) with L2 penalty, in torch's fused kernel.

    Args:
        groups: parameters that become views of :attr:`values`; of one type and device. Each
            group has settings of its own and is clipped by itself.
        learning_rate: step size.
        epsilon: term added to the denominator.
        weight_decay: weight of the L2 penalty added to the gradient.
        overrides: settings that differ, one mapping for each group.

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
        *groups: Iterable[nn.Parameter],
        learning_rate: float,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        overrides: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        members = [[p for p in group if p.requires_grad] for group in groups]
        like = members[0][0].detach()
        step = 1 if like.device.type == "cpu" else ALIGNMENT
        sizes = [parameter.numel() for group in members for parameter in group]
        size = sum(-(-count // step) * step for count in sizes)
        self.values = torch.zeros(size, dtype=like.dtype, device=like.device)
        self.gradients = torch.zeros_like(self.values)
        self.first = torch.zeros_like(self.values)
        self.second = torch.zeros_like(self.values)
        self.step_count = torch.zeros((), dtype=torch.float32, device=like.device)
        common = {
            "learning_rate": learning_rate,
            "epsilon": epsilon,
            "weight_decay": weight_decay,
        }
        self._parts: list[tuple[list[Tensor], dict[str, Any]]] = []
        self._slices: list[slice] = []
        start = 0
        for group, own in zip(members, overrides or [{}] * len(members), strict=True):
            first = start
            for parameter in group:
                view = _view(self.values, parameter, start)
                view.copy_(parameter.detach())
                parameter.data = view
                parameter.grad = _view(self.gradients, parameter, start)
                self._slices.append(slice(start, start + parameter.numel()))
                start += -(-parameter.numel() // step) * step
            vectors = (self.values, self.gradients, self.first, self.second)
            self._parts.append(([v[first:start] for v in vectors], {**common, **own}))

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        self.gradients.zero_()

    def clip(self, largest_norm: float) -> None:
        """Scale the gradients so that the norm of each group is at most ``largest_norm``."""
        for (_, gradients, _, _), _ in self._parts:
            norm = torch.linalg.vector_norm(gradients)
            gradients.mul_((largest_norm / (norm + 1e-6)).clamp(max=1.0))

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters."""
        self.step_count.add_(1)
        for (values, gradients, first, second), settings in self._parts:
            torch._fused_adam_(
                [values],
                [gradients],
                [first],
                [second],
                [],
                [self.step_count],
                lr=settings["learning_rate"],
                beta1=0.9,
                beta2=0.999,
                weight_decay=settings["weight_decay"],
                eps=settings["epsilon"],
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Return what must survive an interruption, without gaps: the same for every device."""
        vectors = {"values": self.values, "first": self.first, "second": self.second}
        packed = {name: self.packed(vector) for name, vector in vectors.items()}
        return {**packed, "step_count": self.step_count}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a state, in place."""
        for name in ("values", "first", "second"):
            self.unpack(state[name], getattr(self, name))
        self.step_count.copy_(state["step_count"])

    def packed(self, vector: Tensor) -> Tensor:
        """Return a vector like :attr:`values` without its gaps."""
        if sum(part.stop - part.start for part in self._slices) == len(vector):
            return vector
        return torch.cat([vector[part] for part in self._slices])

    def unpack(self, packed: Tensor, vector: Tensor) -> None:
        """Fill a vector like :attr:`values` from one without gaps, in place."""
        start = 0
        for part in self._slices:
            count = part.stop - part.start
            vector[part].copy_(packed[start : start + count])
            start += count


def _view(vector: Tensor, parameter: Tensor, start: int) -> Tensor:
    """Return the part of a vector that is like a parameter, in its order of axes in memory."""
    if parameter.is_contiguous() or not parameter.is_contiguous(memory_format=torch.channels_last):
        return vector[start : start + parameter.numel()].view(parameter.shape)
    return vector.as_strided(parameter.shape, parameter.stride(), start)
