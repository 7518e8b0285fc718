"""The name of each method in figures and tables for people: one registry, whatever the method is trained on.

Names of registered methods are `text.short_title` of their titles (a test holds them to that). Controls and variants are
named after the method that they change.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["CONTROL_NAMES", "METHOD_NAMES", "VARIANT_NAMES", "in_order", "method_name"]

METHOD_NAMES = {
    "sft": "SFT", "ift": "IFT", "dpo": "DPO", "dpo_online": "DPO online", "orpo": "ORPO", "ipo": "IPO", "simpo": "SimPO",
    "tdpo": "TDPO", "ppo": "PPO", "grpo": "GRPO",
    "dft": "DFT", "asft": "ASFT", "scheduled": "Scheduled", "neftune": "NEFTune", "dagger": "DAgger", "distill": "Distill",
    "hinge": "Hinge", "robust": "Robust DPO", "exo": "EXO", "nca": "NCA", "bco": "BCO", "sppo": "SPPO",
    "apo_zero": "APO zero", "apo_down": "APO down", "discopop": "DiscoPOP", "dpop": "DPOP", "cpo": "CPO", "chi_po": "χPO",
    "cal_dpo": "Cal-DPO", "kto": "KTO", "spin": "SPIN", "dpo_judged": "DPO judged", "hpt": "HPT", "luffy": "LUFFY",
    "reinforce": "REINFORCE", "rloo": "RLOO", "dr_grpo": "Dr. GRPO", "dapo": "DAPO", "gspo": "GSPO", "cispo": "CISPO",
    "sapo": "SAPO",
}  # fmt: skip
_SFT, _IFT, _DPO, _PPO = (METHOD_NAMES[name] for name in ("sft", "ift", "dpo", "ppo"))
CONTROL_NAMES = {  # of the language study
    "ift_detached": f"{_IFT}, weights constant", "ift_residual": f"{_IFT}, mixing alone",
    "ift_propagation": f"{_IFT}, propagation alone", "ift_random": f"{_IFT}, random tokens",
    "ift_sampled": f"{_IFT}, sampled tokens", "ift_shifted": f"{_IFT}, wrong shift",
    "ift_residual_random": "Mixing alone, random tokens", "ift_residual_sampled": "Mixing alone, sampled tokens",
    "ift_residual_shifted": "Mixing alone, wrong shift", "sft_frozen": f"{_SFT}, frozen inputs",
    "sft_tempered": f"{_SFT}, as uncertain as {_IFT}", "ppo_preference": f"{_PPO}, learned reward",
}  # fmt: skip
VARIANT_NAMES = {  # of the reproduction
    "dpo_sft": f"{_DPO} + {_SFT}",
    **{f"ift_{kind}": f"{_IFT} {kind}" for kind in ("agreeing", "mixture", "average", "expected", "oracle", "asking")},
}
_FIRST = ("sft", "ift", *(name for name in CONTROL_NAMES if name != "ppo_preference"))
_ORDER = (*_FIRST, *(name for name in METHOD_NAMES if name not in (*_FIRST, "grpo")), "ppo_preference", "grpo")


def method_name(method: str) -> str:
    """Return the name that figures give a method; one that they do not know keeps its own.

    Args:
        method: its registered name, that of a control, or of a variant.

    Example:
        >>> method_name("dpo_online"), method_name("ift_residual"), method_name("my_method")
        ('DPO online', 'IFT, mixing alone', 'my_method')
    """
    return (METHOD_NAMES | CONTROL_NAMES | VARIANT_NAMES).get(method, method)


def in_order(methods: Collection[str]) -> list[str]:
    """Return methods in the order of figures: those of this package first, then the others as they come.

    Example:
        >>> in_order(["my_method", "dpo", "ift"])
        ['ift', 'dpo', 'my_method']
    """
    return [name for name in _ORDER if name in methods] + [name for name in methods if name not in _ORDER]
