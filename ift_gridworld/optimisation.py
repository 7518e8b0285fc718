"""The one descent that everything trained here goes through, and optimisers that never mix seeds.

Optimisers work elementwise on parameters whose first dimension is the seed. Those of `torch.optim` are not used because
making one imports torch's compiler, which takes longer than a whole run here; they are what these are tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop

__all__ = ["OPTIMISERS", "Adam", "Optimiser", "RMSprop", "descend"]


def descend(
    objective: Callable[[int], Tensor], step: Callable[[], object], updates: Iterable[int]
) -> Iterator[tuple[int, Tensor]]:
    """Make updates by gradient descent, one each time the iterator is advanced.

    Every training in the package is this loop: methods on lakes and on language models, the base policy, learned rewards, one
    update explained. What differs (precision, accumulation, checkpoints, measuring) is in the two functions and in the body of
    the caller's own ``for``.

    Args:
        objective: the losses of an update, of any shape; their sum is differentiated. An exception ends the descent before
            the parameters change.
        step: applies the gradients and clears them.
        updates: numbers of the updates to make.

    Yields:
        The number of the update that was made and its losses, without gradient.

    >>> x = torch.tensor([4.0], requires_grad=True)
    >>> optimiser = torch.optim.SGD([x], lr=0.25)
    >>> def step():
    ...     optimiser.step()
    ...     optimiser.zero_grad()
    >>> [float(loss) for _, loss in descend(lambda update: x**2, step, range(3))]
    [16.0, 4.0, 1.0]
    """
    for update in updates:
        loss = objective(update)
        loss.sum().backward()
        step()
        yield update, loss.detach()


class Optimiser:
    """Args:
    parameters: moved in place.
    learning_rate: of all seeds, or one for each, [N]; may be changed between steps.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter | Tensor], learning_rate: float | Float[Tensor, " N"]) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.learning_rate = learning_rate
        self._second = [torch.zeros_like(p) for p in self.parameters]  # running mean of squared gradients
        self._count = [torch.zeros((), device=p.device) for p in self.parameters]  # where a fused update looks for it

    @torch.no_grad()
    def step(self, max_norm: float | None = None) -> None:
        """One update from the gradients, which are cleared; each seed's gradient norm is first held to `max_norm`."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        if max_norm is not None:
            squares = [g.flatten(1).square().sum(1) for g in gradients]
            # Every fourth is added first, as torch adds eight rows of a few numbers; its order for many numbers is another, and
            # a member's norm must not depend on the number of members.
            norm = reduce(torch.add, [reduce(torch.add, squares[i::4]) for i in range(min(4, len(squares)))]).sqrt()
            scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
            gradients = [g * scale.reshape(-1, *[1] * (g.ndim - 1)) for g in gradients]
        rate = self.learning_rate
        if isinstance(rate, Tensor):  # steps at a rate of 1, then each seed's own share of them
            steps = [torch.zeros_like(p) for p in self.parameters]
            self._move(steps, gradients, 1.0)
            for parameter, step in zip(self.parameters, steps, strict=True):
                parameter.addcmul_(step, rate.to(step).reshape(-1, *[1] * (step.ndim - 1)))
        else:
            self._move(self.parameters, gradients, rate)
        for parameter in self.parameters:
            parameter.grad = None

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        raise NotImplementedError


class Adam(Optimiser):
    """Kingma and Ba 2015, with the usual 0.9, 0.999 and 1e-8."""

    LANES = 16  # numbers of 32 bits that a processor takes at once; the fused update rounds a remainder in another way

    def __init__(self, parameters: Iterable[torch.nn.Parameter | Tensor], learning_rate: float | Float[Tensor, " N"]) -> None:
        super().__init__(parameters, learning_rate)
        self._first = [torch.zeros_like(p) for p in self.parameters]

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        moved = parameters, self._first, self._second
        now, first, second = ([self._padded(x) for x in tensors] for tensors in moved)
        adam(
            now, [self._padded(g) for g in gradients], first, second, [], self._count, foreach=False, fused=True,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
        for tensors, padded in zip(moved, (now, first, second), strict=True):
            for x, y in zip(tensors, padded, strict=True):
                if y is not x:
                    x.copy_(y[: x.numel()].reshape(x.shape))

    def _padded(self, x: Tensor) -> Tensor:
        """The numbers in whole lanes, so that a member's update does not depend on the number of members."""
        missing = -x.numel() % self.LANES
        return x if not missing else torch.cat([x.detach().flatten(), x.new_zeros(missing)])


class RMSprop(Optimiser):
    """A step along the gradient over the root of its running mean square (Hinton 2012), smoothed by 0.99."""

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        rmsprop(
            parameters, gradients, self._second, [], [], self._count, foreach=False, capturable=False,
            lr=rate, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False,
        )  # fmt: skip


OPTIMISERS: dict[str, type[Optimiser]] = {"adam": Adam, "rmsprop": RMSprop}
