"""Gradients of all methods against slopes of their losses: what a method holds constant by mistake does not show in a value."""

import pytest
import torch
from test_methods import BESIDE_THE_GOAL, make, rollout

from ift_gridworld import METHODS
from ift_gridworld.methods.registry import family_of

STEP = 1e-6
# What is held constant on purpose: DFT's and CISPO's weights, KTO's reference point, and version 2's KL of TDPO.
CONSTANT = ("dft", "asft", "cispo", "kto")
OPTIONS = {"beta": 0.3, "label_smoothing": 0.1, "version": 1, "rise": 0, "walkers": 12, "entropy_bonus": 0.2, "max_reward": 1e9}


def moved(name, by=0.0, step=0, **changes):
    """A method in float64, its batch, and its loss after all parameters have moved that far along a drawn direction.

    The batch is drawn before they move."""
    options = {**OPTIONS, **changes}
    walks = METHODS[name].needs == "rollouts" and family_of(name) != "mixed"
    method = rollout(name, start=BESIDE_THE_GOAL, **options) if walks else make(name, **options)
    for each in (method.policy, method._reference, getattr(method, "critic", None)):
        if each is not None:
            each.double()
    batch = method.batch(step)
    random = torch.Generator().manual_seed(4)
    ways = [torch.randn(p.shape, generator=random, dtype=torch.float64) for p in method.parameters()]
    with torch.no_grad():
        for parameter, way in zip(method.parameters(), ways, strict=True):
            parameter.add_((0.1 + by) * way)
    return method, ways, method.loss(batch)


def gradient_along(name, **changes):
    method, ways, loss = moved(name, **changes)
    parts = torch.autograd.grad(loss.sum(), list(method.parameters()))
    return sum((part * way).sum() for part, way in zip(parts, ways, strict=True))


def slope(name, **changes):
    high, low = (moved(name, by, **changes)[2].sum() for by in (STEP, -STEP))
    return (high - low).detach() / (2 * STEP)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in CONSTANT])
def test_a_gradient_is_the_slope_of_the_loss(name):
    """Parameters have moved since the batch was drawn; nothing else changes with them."""
    torch.testing.assert_close(gradient_along(name), slope(name), rtol=1e-6, atol=1e-8)


def test_daggers_gradient_in_a_later_round():
    torch.testing.assert_close(
        gradient_along("dagger", every=1, step=1), slope("dagger", every=1, step=1), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize(("name", "option"), [("asft", "kl_weight"), ("cispo", "beta")])
def test_a_price_has_its_own_slope(name, option):
    """With and without the price: what is held constant is the same in both, and leaves with the difference."""
    gradients, slopes = ([f(name, **{option: price}) for price in (1.0, 0.0)] for f in (gradient_along, slope))
    torch.testing.assert_close(gradients[0] - gradients[1], slopes[0] - slopes[1], rtol=1e-5, atol=1e-8)
    assert abs(slopes[0] - slopes[1]) > 1e-3


def test_ktos_gradient_at_a_known_reference_point(monkeypatch):
    monkeypatch.setattr(METHODS["kto"], "_reference_point", lambda method, batch: torch.tensor([0.2, 0.7]))
    torch.testing.assert_close(gradient_along("kto"), slope("kto"), rtol=1e-6, atol=1e-8)
