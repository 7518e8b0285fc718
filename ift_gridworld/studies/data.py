"""Demonstrations and preference pairs of a study: each seed draws its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ift_gridworld.data import (
    SUBOPTIMAL_NOISE,
    Trajectories,
    demonstrations,
    generators,
    label_pairs,
    sample_episodes,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy

__all__ = ["SeedData", "draw_data", "trim"]


@dataclass(frozen=True, eq=False)
class SeedData:
    """Demonstrations and preference pairs that one seed learns from on one lake, each [B, T]."""

    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories


def draw_data(mdp: TabularMDP, count: int, seeds: int, seed: int) -> list[SeedData] | None:
    """Draw each seed's own demonstrations and preference pairs; None if no two answers ever return different.

    Demonstrations are episodes of the optimal policy, which shares ties evenly, so the paths of seeds differ. On
    deterministic lakes they are the chosen answers, and the rejected one is the sub-optimal path (`trajectories.detour`).
    Elsewhere pairs are sampled and labelled by their return as in `preference_pairs`, and repeated where too few differ.
    """
    random = generators(seed, seeds)
    best = torch.as_tensor(optimal_policy(mdp))[None]
    shown = sample_episodes(mdp, best, count, random)
    if mdp.is_path:
        detour = demonstrations(mdp, count, quality="suboptimal")
        return [SeedData(shown[i], shown[i], detour) for i in range(seeds)]
    noisy = (1 - SUBOPTIMAL_NOISE) * best + SUBOPTIMAL_NOISE / mdp.num_actions
    draws = 4 * max(count, 16)
    first = sample_episodes(mdp, best, draws, random)
    second = sample_episodes(mdp, noisy, draws, random, first.states[..., 0])
    data = []
    for i in range(seeds):
        chosen, rejected = label_pairs(first[i], second[i], mdp.discount)
        if not len(chosen.states):
            return None
        repeated = torch.arange(count) % len(chosen.states)
        data.append(SeedData(shown[i], trim(chosen[repeated]), trim(rejected[repeated])))
    return data


def trim(batch: Trajectories) -> Trajectories:
    """Drop the columns in which no step counts."""
    return batch[:, : max(1, int(batch.mask.sum(-1).max()))]
