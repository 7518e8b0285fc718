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
    Method,
    OnlineDPO,
    OnPolicy,
    PairMethod,
    PairSide,
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
    "Method",
    "OnPolicy",
    "OnlineDPO",
    "PairMethod",
    "PairSide",
    "Rollouts",
    "Scored",
    "Settings",
    "SimPO",
]
