"""Inputs and comparisons that the tests of all losses share."""

import torch

# Rows with a prompt and padding, with a gap, full, with a single step, with none.
MASK = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 0, 1, 0, 0], [0] * 6], dtype=torch.bool)


def draw(*shape, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def log_probs(*shape, seed=0, grad=False):
    return (-draw(*shape, seed=seed).abs() - 0.05).requires_grad_(grad)


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def gradient(value, *inputs):
    return torch.autograd.grad(value, inputs, retain_graph=True)


def with_gradients(loss, inputs):
    """The value, and the gradient of its sum to every input (0 where none flows)."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return value, *torch.autograd.grad(value.sum(), leaves, materialize_grads=True)


def close(actual, expected, rtol=1e-12, atol=1e-15):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), expected.detach(), rtol=rtol, atol=atol)
