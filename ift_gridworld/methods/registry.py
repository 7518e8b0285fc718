"""The registry of methods: names, options, and where each class lives, which loads when it is asked for. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import suggestion
from ift_gridworld.methods import options as o

if TYPE_CHECKING:
    from ift_gridworld.methods.base import Method

__all__ = [
    "METHODS", "VARIANTS", "find_method", "method_options", "name_of", "option_owners", "register_method",
    "unregister_method",
]  # fmt: skip

# Names that no method's option may have: those of `train`'s arguments and of a saved run's settings.
RESERVED = frozenset(
    {"method", "mdp", "policy", "options", "training", "seed", "seeds", "progress", "preferences", "demonstrations"}
    | {"demonstrations_arrived", *o.option_names(o.TrainingOptions)}
)
MethodT = TypeVar("MethodT", bound="Method[Any]")


@dataclass(frozen=True)
class _Entry:
    """A method: its class, or ``"module:Class"``; its options, if known without the class; whether `METHODS` lists it."""

    method: Any
    options: type[o.MethodOptions] | None
    listed: bool


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
) -> Callable[[type[MethodT]], type[MethodT]]:
    """Make a method known by a name to `train`, the command line, tables, pictures and saved runs.

    Args:
        name: a Python identifier that no other method has.
        method: a subclass of `methods.Method`, or where to find one, ``"package.module:Class"``. Without it the result
            decorates the class.
        options: dataclass of its options, which must be the class's `options_type`; given beside ``"package.module:Class"``,
            the command line need not load the class to list them.
        listed: whether `METHODS` and the command line's ``--method all`` include it.

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
    if not isinstance(name, str) or not name.isidentifier() or name in ("all", "base"):
        raise ValueError(f"the name of a method is {name!r}; allowed: an identifier such as my_method, other than all and base")
    if name in _REGISTRY:
        raise ValueError(f"a method named {name!r} is registered already; allowed: another name")

    def add(cls: type[MethodT]) -> type[MethodT]:
        _REGISTRY[name] = _checked(name, cls, options, listed)
        return cls

    if isinstance(method, str):
        if options is not None:
            _check_options(name, options)
        _REGISTRY[name] = _Entry(method, options, listed)
    elif method is not None:
        add(method)
    return add


def _checked(name: str, kind: Any, options: type[o.MethodOptions] | None, listed: bool) -> _Entry:
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
    return _Entry(kind, kind.options_type, listed)


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
        entry = _REGISTRY[name] = _checked(name, cls, entry.options, entry.listed)
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


for _name, _home, _options in (
    ("sft", "imitation:SFT", o.MethodOptions),
    ("ppo", "on_policy:PPO", o.PPOOptions),
    ("dpo", "preferences:DPO", o.DPOOptions),
    ("dpo_online", "preferences:OnlineDPO", o.DPOOptions),
    ("ift", "imitation:IFT", o.IFTOptions),
    ("orpo", "preferences:ORPO", o.ORPOOptions),
    ("ipo", "preferences:IPO", o.IPOOptions),
    ("simpo", "preferences:SimPO", o.SimPOOptions),
    ("tdpo", "preferences:TDPO", o.TDPOOptions),
    ("grpo", "on_policy:GRPO", o.GRPOOptions),
    ("ift_agreeing", "variants:AgreeingIFT", o.IFTOptions),
    ("ift_mixture", "variants:MixtureIFT", o.IFTOptions),
    ("ift_average", "variants:AverageIFT", o.IFTOptions),
    ("ift_expected", "variants:ExpectedIFT", o.IFTOptions),
    ("ift_oracle", "variants:OracleIFT", o.IFTOptions),
    ("ift_asking", "variants:AskingIFT", o.IFTOptions),
    ("dpo_sft", "variants:DPOSFT", o.DPOOptions),
):
    register_method(_name, f"ift_gridworld.methods.{_home}", options=_options, listed=not _home.startswith("variants:"))
