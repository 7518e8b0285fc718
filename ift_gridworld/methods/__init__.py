"""The methods: what data each needs and how a batch becomes a loss; their options; the registry. Classes load on first use."""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names
from ift_gridworld.methods.options import (
    DPOOptions,
    GRPOOptions,
    IFTOptions,
    IPOOptions,
    MethodOptions,
    ORPOOptions,
    PPOOptions,
    SimPOOptions,
    TDPOOptions,
    TrainingOptions,
)  # fmt: skip
from ift_gridworld.methods.registry import (
    CORE,
    FAMILIES,
    METHODS,
    VARIANTS,
    family_of,
    find_method,
    method_options,
    register_method,
)

if TYPE_CHECKING:
    from ift_gridworld.methods.base import Method
    from ift_gridworld.methods.imitation import IFT, SFT
    from ift_gridworld.methods.on_policy import GRPO, PPO, OnPolicy, Rollouts
    from ift_gridworld.methods.preferences import DPO, IPO, ORPO, TDPO, OnlineDPO, PairMethod, PairSide, Scored, SimPO
    from ift_gridworld.methods.source import DataSource, LakeSource

__all__ = [
    "CORE", "DPO", "FAMILIES", "GRPO", "IFT", "IPO", "METHODS", "ORPO", "PPO", "SFT", "TDPO", "VARIANTS", "DPOOptions",
    "DataSource", "GRPOOptions", "IFTOptions", "IPOOptions", "LakeSource", "Method", "MethodOptions", "ORPOOptions",
    "OnPolicy", "OnlineDPO", "PPOOptions", "PairMethod", "PairSide", "Rollouts", "Scored", "SimPO",
    "SimPOOptions", "TDPOOptions", "TrainingOptions", "family_of", "find_method", "method_options", "register_method",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "base": ["Method"],
        "imitation": ["IFT", "SFT"],
        "on_policy": ["GRPO", "PPO", "OnPolicy", "Rollouts"],
        "preferences": ["DPO", "IPO", "ORPO", "TDPO", "OnlineDPO", "PairMethod", "PairSide", "Scored", "SimPO"],
        "source": ["DataSource", "LakeSource"],
    },
)
