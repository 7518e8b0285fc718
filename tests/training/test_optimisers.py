"""Optimisers over a population are torch's own, a member at a time."""

import pytest
import torch

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.optimisation import OPTIMISERS, Adam, RMSprop
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train


def parameters():
    random = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=random).requires_grad_() for shape in ((3, 4, 5), (3, 2), (3, 1))]


@pytest.mark.parametrize(("ours_is", "theirs_is"), [(Adam, torch.optim.Adam), (RMSprop, torch.optim.RMSprop)])
@pytest.mark.parametrize("max_norm", [None, 0.7])
def test_an_optimiser_is_torchs(ours_is, theirs_is, max_norm):
    """Twenty steps, each seed's gradient clipped by torch's own function over that seed's share of all parameters."""
    ours, theirs = parameters(), [[p.detach()[n].clone().requires_grad_() for p in parameters()] for n in range(3)]
    optimiser = ours_is(ours, 0.05)
    others = [theirs_is(member, lr=0.05) for member in theirs]
    random = torch.Generator().manual_seed(1)
    for step in range(20):
        for i, parameter in enumerate(ours):
            # Seeds of very different scale, and steps on which one parameter has no gradient at all.
            scale = torch.tensor([0.01, 1.0, 100.0]).reshape(-1, *[1] * (parameter.ndim - 1))
            gradient = scale * torch.randn(parameter.shape, generator=random)
            if step % 3 == 2 and i == 1:
                gradient = torch.zeros_like(gradient)
            else:
                parameter.grad = gradient
            for n in range(3):
                theirs[n][i].grad = gradient[n].clone()
        optimiser.step(max_norm)
        for n in range(3):
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(theirs[n], max_norm)
            others[n].step()
        assert all(p.grad is None for p in ours)
    for i, parameter in enumerate(ours):
        for n in range(3):
            torch.testing.assert_close(parameter[n], theirs[n][i], rtol=1e-6, atol=1e-6)  # norms summed in another order


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_uses_the_optimiser_that_its_settings_name(name):
    """The first update of either has a size of its own: Adam's is the rate, RMSprop's ten times that (1 / sqrt(1 - 0.99))."""
    mdp = TabularMDP.from_map(LAKES["two-paths"])
    policy = make_base("uniform", mdp, policy="tabular")
    before = policy.theta.detach().clone()
    run = train("sft", mdp, policy, optimiser=name, learning_rate=0.01, steps=1)
    assert run.settings["optimiser"] == name
    moved = (policy.theta.detach() - before).abs().max()
    torch.testing.assert_close(moved, torch.tensor({"adam": 0.01, "rmsprop": 0.1}[name]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("members", [2, 3, 5, 8, 32])
def test_a_members_update_does_not_depend_on_the_number_of_members(name, members):
    """To the last bit, however few numbers a parameter has, and whether its gradients are clipped together or not."""
    shapes = [(3, 5), (4,), (1,), (7, 2), (5,), (2,), (6,), (1, 1)]
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(members, *shape, generator=random) for shape in shapes]
    gradients = [[torch.randn(members, *shape, generator=random) for shape in shapes] for _ in range(5)]

    def moved(which):
        parameters = [p[which].clone() for p in start]
        optimiser = OPTIMISERS[name](parameters, 0.1)
        for step, gradient in enumerate(gradients):
            for parameter, g in zip(parameters, gradient, strict=True):
                parameter.grad = g[which].clone()
            optimiser.step(max_norm=0.5 if step % 2 else None)
        return parameters

    together = moved(slice(None))
    for i in range(members):
        for all_members, alone in zip(together, moved(slice(i, i + 1)), strict=True):
            torch.testing.assert_close(alone[0], all_members[i], rtol=0, atol=0)
