"""A device beside the processor, on any machine: its tensors are in the processor's memory, but do not mix.

Tensors say that they are on the device "meta", which PyTorch has everywhere, and hold their values all the
same. What would fail on CUDA because its operands are on two devices fails here, and results are those of
the processor.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")

_INDEXED = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"}


class Elsewhere(torch.Tensor):
    """A tensor that is not on the processor."""

    @staticmethod
    def __new__(cls, values):
        size, strides, start = values.size(), values.stride(), values.storage_offset()
        return torch.Tensor._make_wrapper_subclass(
            cls, size, strides=strides, storage_offset=start, dtype=values.dtype, device=ELSEWHERE
        )

    def __init__(self, values):
        self.values = values

    # Of a parameter on the device "meta" PyTorch believes that it has no values.
    is_meta = False
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __reduce_ex__(self, protocol):
        return self.values.__reduce_ex__(protocol)

    def __repr__(self):
        return f"Elsewhere({self.values!r})"


class Device(TorchDispatchMode):
    """While it is entered, there is that device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    name = func.overloadpacket.__name__
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [isinstance(x, Elsewhere) for x in tensors]
    goal = kwargs.get("device")
    if goal is not None:
        is_there = torch.device(goal) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        is_there = any(there)
    if name not in {"copy_", "_to_copy"}:
        _check(name, func, args, tensors, there)
    inner_args, inner_kwargs = tree_map(lambda x: x.values if isinstance(x, Elsewhere) else x, (args, kwargs))
    found = func(*inner_args, **inner_kwargs)
    if name == "copy_":
        return args[0]
    if is_there:
        found = tree_map(lambda x: Elsewhere(x) if isinstance(x, torch.Tensor) else x, found)
        if all(there):
            found = return_and_correct_aliasing(func, args, kwargs, found)
    return found


def _check(name, func, args, tensors, there):
    if not any(there):
        return
    alone = [x for x, is_there in zip(tensors, there, strict=True) if not is_there and x.ndim > 0]
    if name in _INDEXED:
        indices = tree_flatten(args[1])[0]
        alone = [x for x in alone if not any(x is index for index in indices)]
        if not isinstance(args[0], Elsewhere):
            alone = [args[0]]
    if alone:
        raise RuntimeError(
            f"{func}: operands on two devices, one of shape {tuple(alone[0].shape)} on the processor"
        )
