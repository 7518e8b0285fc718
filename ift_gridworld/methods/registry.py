"""The registry of methods: names, options, and where each class lives, which loads when it is asked for. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from ift_gridworld.checks import suggestion
from ift_gridworld.methods import options as o

if TYPE_CHECKING:
    from ift_gridworld.methods.base import Method

__all__ = ["METHODS", "VARIANTS", "find_method", "method_options", "name_of", "register_method"]

MethodT = TypeVar("MethodT", bound="Method[Any]")


@dataclass(frozen=True)
class _Entry:
    """A registered method: its class, or ``"module:Class"``; its options; whether `METHODS` lists it."""

    method: Any
    options: type[o.MethodOptions]
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
        options: dataclass of its options (default: the class's `options_type`).
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

    def add(found: type[MethodT]) -> type[MethodT]:
        if not callable(getattr(found, "loss", None)) or not callable(getattr(found, "batch", None)):
            raise ValueError(f"method {name!r} is {found!r}; allowed: a subclass of ift_gridworld.methods.Method")
        _REGISTRY[name] = _Entry(found, options or found.options_type, listed)
        return found

    if isinstance(method, str):
        _REGISTRY[name] = _Entry(method, options or o.MethodOptions, listed)
    elif method is not None:
        add(method)
    return add


def unregister_method(name: str) -> None:
    """Forget a registered method."""
    _REGISTRY.pop(name, None)


def find_method(name: str) -> type[Method[Any]]:
    """Return the class of a registered method, listed or not.

    Raises:
        ValueError: for an unknown name, suggesting the nearest.
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown method {name!r}; {suggestion(name, _REGISTRY)}allowed: {', '.join(METHODS)}")
    entry = _REGISTRY[name]
    if isinstance(entry.method, str):
        module, _, attribute = entry.method.partition(":")
        entry = _Entry(getattr(import_module(module), attribute), entry.options, entry.listed)
        _REGISTRY[name] = entry
    found: type[Method[Any]] = entry.method
    return found


def method_options(name: str) -> type[o.MethodOptions]:
    """Return the dataclass of a method's options without loading the method.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in _REGISTRY:
        find_method(name)
    return _REGISTRY[name].options


def name_of(method: str | type[Method[Any]]) -> tuple[str, type[Method[Any]]]:
    """Return the name and the class of a method that is given by either; a class that is not registered has its own name."""
    if isinstance(method, str):
        return method, find_method(method)
    names = [name for name, entry in _REGISTRY.items() if entry.method is method]
    return (names[0] if names else method.__name__), method


def option_owners() -> dict[str, list[str]]:
    """Return the option names of every listed method."""
    return {name: o.option_names(entry.options) for name, entry in _REGISTRY.items() if entry.listed}


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
):
    register_method(_name, f"ift_gridworld.methods.{_home}", options=_options)
for _name, _home, _options in (
    ("ift_agreeing", "AgreeingIFT", o.IFTOptions),
    ("ift_mixture", "MixtureIFT", o.IFTOptions),
    ("ift_average", "AverageIFT", o.IFTOptions),
    ("ift_expected", "ExpectedIFT", o.IFTOptions),
    ("ift_oracle", "OracleIFT", o.IFTOptions),
    ("ift_asking", "AskingIFT", o.IFTOptions),
    ("dpo_sft", "DPOSFT", o.DPOOptions),
):
    register_method(_name, f"ift_gridworld.methods.variants:{_home}", options=_options, listed=False)
