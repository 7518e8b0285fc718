"""Preference pairs: a chosen and a rejected trajectory from the same start, labelled by their returns."""

from __future__ import annotations

from dataclasses import fields

import torch

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.data.demonstrator import demonstrations
from ift_gridworld.data.paths import best_path, detour
from ift_gridworld.data.trajectories import Trajectories, concatenate, pad, replay
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.runtime import standard_settings

__all__ = ["label_pairs", "preference_pairs"]

ROUNDS = 20  # of `count` pairs that are drawn before giving up


@standard_settings()
def preference_pairs(
    mdp: TabularMDP, count: int = 1, *, generator: torch.Generator | None = None, needed: bool = True
) -> tuple[Trajectories, Trajectories]:
    """Return pairs of an optimal and a sub-optimal demonstration from the same start, labelled by their return.

    Where the sub-optimal one happens to return more it is the chosen one. Pairs of equal return carry no preference and are
    drawn again.

    Args:
        mdp: the problem.
        count: number of pairs.
        generator: draws episodes (default: seeded with 0).
        needed: whether fewer pairs are an error. If not, and too few can be drawn, there are fewer, or none.

    Returns:
        Chosen and rejected trajectories, each [count, T].

    Raises:
        ValueError: for what is not an MDP or a count below 1; if pairs are needed, and too few with different returns can be
            drawn.

    Example:
        >>> chosen, rejected = preference_pairs(TabularMDP.from_map(("SFFF", "FHHF", "FHHG", "FFFF")))
        >>> chosen.mask.sum(-1), rejected.mask.sum(-1)  # five steps against seven
        (tensor([5]), tensor([7]))
    """
    check_mdp(mdp)
    count = check_whole("the number of preference pairs", count, at_least=1)
    generator = generator or torch.Generator().manual_seed(0)
    if mdp.is_path:
        best = replay(mdp, best_path(mdp), count)
        try:
            return best, replay(mdp, detour(mdp), count)
        except ValueError:
            if needed:
                raise
            return best[:0], best[:0]
    chosen: list[Trajectories] = []
    rejected: list[Trajectories] = []
    drawn = 0
    for _ in range(ROUNDS):
        first = demonstrations(mdp, count, generator=generator)
        second = demonstrations(mdp, count, quality="suboptimal", generator=generator, starts=first.states[:, 0])
        better, worse = label_pairs(first, second, mdp.discount)
        chosen.append(better)
        rejected.append(worse)
        drawn += len(better.states)
        if drawn >= count:
            break
    if drawn >= count or not needed:
        return concatenate(chosen)[:count], concatenate(rejected)[:count]
    way_out = (
        f"ask for at most {drawn}" if drawn else "allowed: a lake on which episodes do arrive, so less slip or a smaller lake"
    )
    raise ValueError(
        f"only {drawn} of {count} preference pairs could be drawn: the others' episodes return the same; {way_out}"
    )


def label_pairs(first: Trajectories, second: Trajectories, discount: float) -> tuple[Trajectories, Trajectories]:
    """Return (chosen, rejected) of episodes [B, T] compared row by row by their return; rows that tie are left out.

    Args:
        first, second: one episode per row; they may differ in length.
        discount: of the return.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> short, long = replay(lake, [2, 2], count=1), replay(lake, [2, 0, 2, 2], count=1)
        >>> [side.actions.tolist() for side in label_pairs(long, short, discount=0.9)]
        [[[2, 2, 0, 0]], [[2, 0, 2, 2]]]
    """
    first_return, second_return = first.returns(discount), second.returns(discount)
    first, second = pad(first, second.states.shape[-1]), pad(second, first.states.shape[-1])
    is_better, differs = (first_return > second_return)[:, None], first_return != second_return

    def pick(if_better: Trajectories, otherwise: Trajectories) -> Trajectories:
        names = [f.name for f in fields(Trajectories)]
        return Trajectories(*(torch.where(is_better, getattr(if_better, n), getattr(otherwise, n))[differs] for n in names))

    return pick(first, second), pick(second, first)
