"""The methods: what data each needs and how a batch becomes a loss."""

from ift_gridworld.methods.families import (
    DPO,
    GRPO,
    IFT,
    IPO,
    METHODS,
    ORPO,
    PPO,
    SFT,
    TDPO,
    Answers,
    Method,
    OnlineDPO,
    OnPolicy,
    PairMethod,
    Rollouts,
    Scored,
    SimPO,
)
from ift_gridworld.methods.settings import Settings

__all__ = [
    "DPO",
    "GRPO",
    "IFT",
    "IPO",
    "METHODS",
    "ORPO",
    "PPO",
    "SFT",
    "TDPO",
    "Answers",
    "Method",
    "OnPolicy",
    "OnlineDPO",
    "PairMethod",
    "Rollouts",
    "Scored",
    "Settings",
    "SimPO",
]
