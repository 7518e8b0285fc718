"""The registry of methods: names, options, and where each class lives, which loads when it is asked for. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import suggestion
from ift_gridworld.methods import options as o

if TYPE_CHECKING:
    from ift_gridworld.methods.base import Method

__all__ = [
    "CORE", "FAMILIES", "METHODS", "VARIANTS", "Family", "family_of", "find_method", "method_options", "name_of",
    "option_owners", "register_method", "unregister_method",
]  # fmt: skip

Family = Literal["imitation", "pairs", "unpaired", "on-policy", "mixed"]
"""What a method learns from: demonstrations, pairs, answers each good or bad, its own rollouts, or several of these."""
FAMILIES: tuple[Family, ...] = get_args(Family)
CORE = ("sft", "ppo", "dpo", "dpo_online", "ift", "orpo", "ipo", "simpo", "tdpo", "grpo")
"""The methods of the paper's comparison and those beside it, which published studies compare."""
BY_NEEDS: dict[str, Family] = {"demonstrations": "imitation", "pairs": "pairs", "rollouts": "on-policy"}

# Names that no method's option may have: those of `train`'s arguments and of a saved run's settings.
RESERVED = frozenset(
    {"method", "mdp", "policy", "options", "training", "seed", "seeds", "progress", "preferences", "demonstrations"}
    | {"demonstrations_arrived", *o.option_names(o.TrainingOptions)}
)
MethodT = TypeVar("MethodT", bound="Method[Any]")


@dataclass(frozen=True)
class _Entry:
    """A method: its class, or ``"module:Class"``; its options and family, if known without the class; whether it is listed."""

    method: Any
    options: type[o.MethodOptions] | None
    listed: bool
    family: Family | None


_REGISTRY: dict[str, _Entry] = {}


class _Registered(Mapping[str, "type[Method[Any]]"]):
    """A view of the registry: the classes of the methods that are listed, or of those that are not."""

    def __init__(self, listed: bool) -> None:
        self._listed = listed

    def __getitem__(self, name: str) -> type[Method[Any]]:
        if name not in _REGISTRY or _REGISTRY[name].listed != self._listed:
            raise KeyError(name)
        return find_method(name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, entry in _REGISTRY.items() if entry.listed == self._listed])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def __repr__(self) -> str:
        return f"{{{', '.join(self)}}}"


METHODS: Mapping[str, type[Method[Any]]] = _Registered(listed=True)
VARIANTS: Mapping[str, type[Method[Any]]] = _Registered(listed=False)


def register_method(
    name: str,
    method: type[Method[Any]] | str | None = None,
    *,
    options: type[o.MethodOptions] | None = None,
    listed: bool = True,
    family: Family | None = None,
) -> Callable[[type[MethodT]], type[MethodT]]:
    """Make a method known by a name to `train`, the command line, tables, pictures and saved runs.

    Args:
        name: a Python identifier that no other method has.
        method: a subclass of `methods.Method`, or where to find one, ``"package.module:Class"``. Without it the result
            decorates the class.
        options: dataclass of its options, which must be the class's `options_type`; given beside ``"package.module:Class"``,
            the command line need not load the class to list them.
        listed: whether `METHODS` and the command line's ``--method all`` include it.
        family: the family that it is listed with (default: that of what it `needs`).

    Returns:
        A decorator that registers a class under the name.

    Raises:
        ValueError: for a name that is taken or no identifier, or a class without `batch` and `loss`.

    >>> from ift_gridworld.methods import SFT, METHODS, register_method
    >>> @register_method("sft_twice")
    ... class Twice(SFT):
    ...     def loss(self, batch):
    ...         return 2 * super().loss(batch)
    >>> "sft_twice" in METHODS
    True
    >>> unregister_method("sft_twice")
    """
    taken = ("all", "base", "core", *FAMILIES)
    if not isinstance(name, str) or not name.isidentifier() or name in taken:
        others = ", ".join(word for word in taken if word.isidentifier())
        raise ValueError(f"the name of a method is {name!r}; allowed: an identifier such as my_method, other than {others}")
    if family not in (None, *FAMILIES):
        raise ValueError(f"family is {family!r}; {suggestion(family, FAMILIES)}allowed: {', '.join(FAMILIES)}")
    if name in _REGISTRY:
        raise ValueError(f"a method named {name!r} is registered already; allowed: another name")

    def add(cls: type[MethodT]) -> type[MethodT]:
        _REGISTRY[name] = _checked(name, cls, options, listed, family)
        return cls

    if isinstance(method, str):
        if options is not None:
            _check_options(name, options)
        _REGISTRY[name] = _Entry(method, options, listed, family)
    elif method is not None:
        add(method)
    return add


def _checked(name: str, kind: Any, options: type[o.MethodOptions] | None, listed: bool, family: Family | None) -> _Entry:
    """Return the entry of a class that can be a method."""
    from ift_gridworld.methods.base import Method

    allowed = "allowed: a subclass of ift_gridworld.methods.Method with batch and loss"
    if not isinstance(kind, type) or not issubclass(kind, Method):
        raise ValueError(f"method {name!r} is {kind!r}; {allowed}")
    missing = [part for part in ("batch", "loss") if getattr(kind, part) is getattr(Method, part)]
    if missing:
        raise ValueError(f"method {name!r} is {kind!r}, which has no {' and no '.join(missing)}; {allowed}")
    if options not in (None, kind.options_type):
        raise ValueError(f"options of {name!r} is {options!r}; allowed: the class's options_type, {kind.options_type!r}")
    _check_options(name, kind.options_type)
    return _Entry(kind, kind.options_type, listed, family)


def _check_options(name: str, options: type[o.MethodOptions]) -> None:
    """Refuse options without a dataclass's fields, and names that `train` or a saved run's settings use themselves."""
    parameters = vars(options).get("__dataclass_params__")
    if "__annotations__" in vars(options) and not (parameters and parameters.frozen):
        raise ValueError(
            f"options {options.__name__} of method {name!r} is no frozen dataclass; allowed: @dataclass(frozen=True)"
        )
    clashing = [option for option in o.option_names(options) if option in RESERVED]
    if clashing:
        raise ValueError(
            f"method {name!r} has an option {clashing[0]!r}, which is a name of train's own; allowed: another name"
        )


def unregister_method(name: str) -> None:
    """Forget a registered method."""
    _REGISTRY.pop(name, None)


def find_method(name: str) -> type[Method[Any]]:
    """Return the class of a registered method, listed or not.

    Raises:
        ValueError: for an unknown name, suggesting the nearest.

    >>> find_method("ift").full_title()
    'IFT · intuitive fine-tuning'
    >>> find_method("itf")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown method 'itf'; did you mean ift? ...
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown method {name!r}; {suggestion(name, _REGISTRY)}allowed: {', '.join(_REGISTRY)}")
    entry = _REGISTRY[name]
    if isinstance(entry.method, str):
        try:
            cls = resolve(entry.method)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"method {name!r} is {entry.method!r}, which cannot be loaded: {error}") from error
        entry = _REGISTRY[name] = _checked(name, cls, entry.options, entry.listed, entry.family)
    method: type[Method[Any]] = entry.method
    return method


def method_options(name: str) -> type[o.MethodOptions]:
    """Return the dataclass of a method's options, without loading the method if it was registered with them.

    Raises:
        ValueError: for an unknown name.

    >>> method_options("simpo")()
    SimPOOptions(beta=2.0, gamma=1.6)
    """
    registered = _REGISTRY[name].options if name in _REGISTRY else None
    return find_method(name).options_type if registered is None else registered


def family_of(name: str) -> Family:
    """Return the family of a method: the one that it was registered with, or that of what it needs.

    Raises:
        ValueError: for an unknown name.

    >>> [family_of(name) for name in ("ift", "dpo", "kto", "luffy")]
    ['imitation', 'pairs', 'unpaired', 'mixed']
    """
    registered = _REGISTRY[name].family if name in _REGISTRY else None
    return registered or BY_NEEDS[find_method(name).needs]


def name_of(method: str | type[Method[Any]]) -> tuple[str, type[Method[Any]]]:
    """Return the name and the class of a method that is given by either; a class that is not registered has its own name."""
    if isinstance(method, str):
        return method, find_method(method)
    if not isinstance(method, type):
        raise ValueError(f"method is {method!r}; allowed: a registered name or a subclass of ift_gridworld.methods.Method")
    home = f"{method.__module__}:{method.__qualname__}"  # of a class that the registry has not loaded itself
    names = [name for name, entry in _REGISTRY.items() if entry.method is method or entry.method == home]
    return (names[0] if names else method.__name__), method


def option_owners() -> dict[str, list[str]]:
    """Return the option names of every listed method."""
    return {name: o.option_names(method_options(name)) for name in METHODS}


_BUILT_IN: tuple[tuple[str, Family, str, type[o.MethodOptions]], ...] = (
    ("sft", "imitation", "imitation:SFT", o.MethodOptions),
    ("ppo", "on-policy", "on_policy:PPO", o.PPOOptions),
    ("dpo", "pairs", "preferences:DPO", o.DPOOptions),
    ("dpo_online", "pairs", "preferences:OnlineDPO", o.DPOOptions),
    ("ift", "imitation", "imitation:IFT", o.IFTOptions),
    ("orpo", "pairs", "preferences:ORPO", o.ORPOOptions),
    ("ipo", "pairs", "preferences:IPO", o.IPOOptions),
    ("simpo", "pairs", "preferences:SimPO", o.SimPOOptions),
    ("tdpo", "pairs", "preferences:TDPO", o.TDPOOptions),
    ("grpo", "on-policy", "on_policy:GRPO", o.GRPOOptions),
    ("dft", "imitation", "imitation:DFT", o.MethodOptions),
    ("asft", "imitation", "imitation:ASFT", o.ASFTOptions),
    ("scheduled", "imitation", "imitation:ScheduledSampling", o.ScheduledOptions),
    ("neftune", "imitation", "imitation:NEFTune", o.NEFTuneOptions),
    ("dagger", "imitation", "distillation:DAgger", o.DaggerOptions),
    ("distill", "imitation", "distillation:Distillation", o.DistillOptions),
    ("hinge", "pairs", "preference_kinds:Hinge", o.HingeOptions),
    ("robust", "pairs", "preference_kinds:RobustDPO", o.RobustDPOOptions),
    ("exo", "pairs", "preference_kinds:EXO", o.EXOOptions),
    ("nca", "pairs", "preference_kinds:NCA", o.NCAOptions),
    ("bco", "pairs", "preference_kinds:BCO", o.BCOOptions),
    ("sppo", "pairs", "preference_kinds:SPPO", o.SPPOOptions),
    ("apo_zero", "pairs", "preference_kinds:APOZero", o.PreferenceOptions),
    ("apo_down", "pairs", "preference_kinds:APODown", o.PreferenceOptions),
    ("discopop", "pairs", "preference_kinds:DiscoPOP", o.DiscoPOPOptions),
    ("dpop", "pairs", "preference_kinds:DPOPositive", o.DPOPOptions),
    ("cpo", "pairs", "preference_kinds:CPO", o.CPOOptions),
    ("chi_po", "pairs", "preference_kinds:ChiPO", o.ChiPOOptions),
    ("cal_dpo", "pairs", "preference_kinds:CalDPO", o.CalDPOOptions),
    ("kto", "unpaired", "preference_kinds:KTO", o.KTOOptions),
    ("spin", "pairs", "self_play:SPIN", o.SPINOptions),
    ("dpo_judged", "pairs", "self_play:JudgedDPO", o.JudgedDPOOptions),
    ("hpt", "mixed", "mixed:HPT", o.HPTOptions),
    ("luffy", "mixed", "mixed:LUFFY", o.LUFFYOptions),
    ("reinforce", "on-policy", "policy_gradients:REINFORCE", o.ReinforceOptions),
    ("rloo", "on-policy", "policy_gradients:RLOO", o.RLOOOptions),
    ("dr_grpo", "on-policy", "policy_gradients:DrGRPO", o.DrGRPOOptions),
    ("dapo", "on-policy", "policy_gradients:DAPO", o.DAPOOptions),
    ("gspo", "on-policy", "policy_gradients:GSPO", o.GSPOOptions),
    ("cispo", "on-policy", "policy_gradients:CISPO", o.CISPOOptions),
    ("sapo", "on-policy", "policy_gradients:SAPO", o.GroupOptions),
)
_VARIANTS: tuple[tuple[str, Family, str, type[o.MethodOptions]], ...] = (
    ("ift_agreeing", "imitation", "variants:AgreeingIFT", o.IFTOptions),
    ("ift_mixture", "imitation", "variants:MixtureIFT", o.IFTOptions),
    ("ift_average", "imitation", "variants:AverageIFT", o.IFTOptions),
    ("ift_expected", "imitation", "variants:ExpectedIFT", o.IFTOptions),
    ("ift_oracle", "imitation", "variants:OracleIFT", o.IFTOptions),
    ("ift_asking", "imitation", "variants:AskingIFT", o.IFTOptions),
    ("dpo_sft", "pairs", "variants:DPOSFT", o.DPOOptions),
)
for _name, _family, _home, _options in (*_BUILT_IN, *_VARIANTS):
    _listed = not _home.startswith("variants:")
    register_method(_name, f"ift_gridworld.methods.{_home}", options=_options, listed=_listed, family=_family)
