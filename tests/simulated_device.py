"""A pretended accelerator, for machines without one: its tensors say device "sim" and hold a tensor of the CPU.

Operations that mix devices raise as CUDA's do, so do draws with a generator of the CPU, and what makes the host wait for the
device is counted by the line of the package that asked for it. Registering the device changes torch for the whole process:
import this module only in a process of its own.

    with Machine() as machine:
        policy.to(SIM)
        ...
    machine.syncs  # {"ift_gridworld/language/policy.py:214 nonzero": 3}
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

ROOT = Path(__file__).resolve().parents[1] / "ift_gridworld"
ATEN = torch.ops.aten


class _Backend:
    """What torch asks of a device's module."""

    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed = manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    get_rng_state = staticmethod(lambda *_: torch.get_rng_state())
    set_rng_state = synchronize = staticmethod(lambda *_: None)


_setup_privateuseone_for_python_backend("sim", _Backend())
_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
SIM = torch.device("sim", 0)

# Operations whose result, or its shape, the host has to wait for.
WAITING = {
    ATEN.nonzero.default, ATEN._local_scalar_dense.default, ATEN.equal.default, ATEN.is_nonzero.default, ATEN._unique2.default,
    ATEN.unique_dim.default, ATEN.unique_consecutive.default, ATEN.masked_select.default,
}  # fmt: skip
CROSSING = {ATEN._to_copy.default, ATEN.copy_.default, ATEN.set_.source_Tensor}  # operations between two devices
INDEXING = (ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._unsafe_index)


class Simulated(torch.Tensor):
    """A tensor of the pretended device."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=SIM
        )

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"Simulated({tuple(self.shape)}, {self.dtype})"

    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(tensors, meta, size, stride):
        return Simulated(tensors["held"])

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        assert Machine.current is not None, "a simulated tensor is used outside `with Machine()`"
        return Machine.current.run(function, args, kwargs or {})

    def tolist(self):
        Machine.current.waits("tolist")
        return self.held.tolist()

    def numpy(self, *_, **__):
        raise TypeError(f"can't convert sim device type tensor to numpy ({_caller()})")


class _Factories(TorchFunctionMode):
    """Functions that make tensors of numbers without asking the dispatcher."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if function in (torch.tensor, torch.as_tensor, torch.asarray):
            here = device is not None and torch.device(device).type == "sim"
            if isinstance(args[0], Simulated) and (here or device is None):
                return args[0] if kwargs.get("dtype") is None else args[0].to(kwargs["dtype"])
            if here and not isinstance(args[0], Simulated):
                return function(*args, **{name: value for name, value in kwargs.items() if name != "device"}).to(SIM)
        if function is torch.Tensor.new_tensor and isinstance(args[0], Simulated):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(SIM)
        return function(*args, **kwargs)


class Machine(TorchDispatchMode):
    """The pretended device at work.

    Attributes:
        syncs: how often the host waited for the device, by line and operation.
        kernels: number of operations on the device.
    """

    current: Machine | None = None

    def __enter__(self):
        self.syncs, self.kernels = collections.Counter(), 0
        Machine.current, self.factories = self, _Factories()
        self.factories.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        result = super().__exit__(*error)
        self.factories.__exit__(*error)
        Machine.current = None
        return result

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return self.run(function, args, kwargs or {})

    def waits(self, reason):
        self.syncs[f"{_caller()} {reason}"] += 1

    def run(self, function, args, kwargs):
        """Run an operation on the tensors held, after checking what a device would refuse."""
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        simulated = [x for x in tensors if isinstance(x, Simulated)]
        asked = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type == "sim"
        self._check(function, args, kwargs, tensors, simulated, asked)
        result_is_simulated = bool(simulated) if asked is None else asked
        if asked is not None and any(argument.name == "device" for argument in function._schema.arguments):
            kwargs = kwargs | {"device": torch.device("cpu")}
        if function is ATEN.copy_.default:
            result_is_simulated = isinstance(args[0], Simulated)
        kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        self.kernels += result_is_simulated
        held = function(*pytree.tree_map(_held, args), **pytree.tree_map(_held, kwargs))
        if not result_is_simulated:
            return held.clone() if simulated and function is ATEN._to_copy.default else held
        wrapped = pytree.tree_map(lambda x: Simulated(x) if type(x) is torch.Tensor else x, held)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if simulated else wrapped

    def _check(self, function, args, kwargs, tensors, simulated, asked):
        name, plain = function.overloadpacket, [x for x in tensors if not isinstance(x, Simulated)]
        if simulated and function not in CROSSING:
            if name in INDEXING:
                if not isinstance(args[0], Simulated):
                    raise RuntimeError(f"indices should be on cpu: {function} of a cpu tensor ({_caller()})")
                if any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in args[1] if x is not None):
                    self.waits("boolean index")
            elif any(x.ndim for x in plain):
                raise RuntimeError(f"Expected all tensors to be on the same device: {function} got sim and cpu ({_caller()})")
        generator = kwargs.get("generator")
        if generator is not None and (simulated or asked) and generator.device.type != "sim":
            raise RuntimeError(f"Expected a 'sim' device type for generator but found 'cpu' ({_caller()})")
        if simulated and function in WAITING:
            self.waits(str(name).split(".")[-1])
        if simulated and function is ATEN.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            self.waits("repeat_interleave")
        if simulated and function is ATEN._to_copy.default and asked is False:
            self.waits("copy to the host")
        if function is ATEN.copy_.default and not isinstance(args[0], Simulated) and isinstance(args[1], Simulated):
            self.waits("copy to the host")


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Simulated) else x


def _caller() -> str:
    """Return the innermost line of the package, or of a library where none of it is on the stack."""
    frame, library = sys._getframe(1), "?"
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if ROOT in path.parents:
            return f"{path.relative_to(ROOT.parent)}:{frame.f_lineno}"
        if library == "?" and "site-packages" in path.parts and "_python_dispatch" not in path.name:
            library = f"{path.parent.name}/{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return library
