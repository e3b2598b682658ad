"""What torch calls its functions, and those that give no rows."""

from collections.abc import Callable
from typing import Any, Final

_OPERATORS: Final = {
    "__getitem__": "getitem",
    "__setitem__": "setitem",
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__invert__": "bitwise_not",
    "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
    "__truediv__": "div",
    "__floordiv__": "floor_divide",
    "__mod__": "remainder",
    "__matmul__": "matmul",
    "__deepcopy__": "clone",
}
"""Operators that are not simply called as their function."""

_REFLECTED: Final = frozenset(
    {
        "radd", "rand", "rdiv", "rfloordiv", "rlshift", "rmod", "rmul", "ror", "rpow", "rrshift",
        "rsub", "rtruediv", "rxor",
    }
)  # fmt: skip

FACTS: Final = frozenset(
    {
        "__dir__", "__format__", "__hash__", "__len__", "__repr__", "backward", "data_dependent",
        "dense_dim", "dim", "element_size", "get_device", "has_names", "is_coalesced", "is_complex",
        "is_conj", "is_contiguous", "is_distributed", "is_floating_point", "is_inference",
        "_is_view", "is_neg", "is_pinned", "is_same_size", "is_set_to", "is_shared", "is_signed",
        "ndimension", "nelement", "numel", "register_hook", "register_post_accumulate_grad_hook",
        "requires_grad_", "result_type", "retain_grad", "share_memory_", "size", "sparse_dim",
        "storage_offset", "storage_type", "stride", "sym_size", "numpy_dtype",
        "get:_backward_hooks", "get:_base", "get:_cdata", "get:_grad", "get:_grad_fn",
        "get:_post_accumulate_grad_hooks", "get:_version", "get:device", "get:dtype", "get:grad",
        "get:grad_dtype", "get:grad_fn", "get:is_cpu", "get:is_cuda", "get:is_ipu", "get:is_leaf",
        "get:is_maia", "get:is_meta", "get:is_mkldnn", "get:is_mps", "get:is_mtia",
        "get:is_nested", "get:is_quantized", "get:is_sparse", "get:is_sparse_csr", "get:is_vulkan",
        "get:is_xla", "get:is_xpu", "get:itemsize", "get:layout", "get:name", "get:names",
        "get:nbytes", "get:ndim", "get:output_nr", "get:requires_grad", "get:retains_grad",
        "get:shape", "get:volatile", "set:_backward_hooks", "set:_grad", "set:grad",
        "set:grad_dtype", "set:names", "set:requires_grad", "set:_post_accumulate_grad_hooks",
    }
)  # fmt: skip
"""What is asked of a tensor beside its values; gradients are plain tensors."""

FRESH: Final = frozenset(
    {
        "empty_like", "full_like", "new", "new_empty", "new_empty_strided", "new_full", "new_ones",
        "new_tensor", "new_zeros", "ones_like", "rand_like", "randint_like", "randn_like",
        "zeros_like",
    }
)  # fmt: skip
"""Functions that take the shape of a tensor and none of its values."""


def name_of(func: Callable[..., Any]) -> str:
    """Return the name by which the table knows a function; ``get:`` and ``set:`` for attributes."""
    name = func.__name__
    if name in {"__get__", "__set__", "__delete__"}:
        return f"{name.strip('_')}:{getattr(func, '__self__').__name__}"  # noqa: B009
    if name in FACTS or name in _OPERATORS:
        return _OPERATORS.get(name, name)
    if name.startswith("__") and name.endswith("__"):
        return _operator(name)
    return name.rstrip("_")


def is_in_place(func: Callable[..., Any]) -> bool:
    """Say whether a function writes into its first argument."""
    name = func.__name__
    if name.startswith("__"):
        return name in {"__setitem__", "__set__"} or _is_augmented(name)
    return name.endswith("_") and name not in FACTS


def _operator(name: str) -> str:
    bare = name.strip("_")
    if _is_augmented(name):
        plain = f"__{bare[1:]}__"
        return _OPERATORS.get(plain, bare[1:])
    if bare in _REFLECTED:
        return _OPERATORS.get(f"__{bare[1:]}__", bare[1:])
    return bare if f"__{bare}__" in _SPELLED else name


_SPELLED: Final = frozenset(
    f"__{name}__"
    for name in "add sub mul div pow eq ne lt le gt ge abs neg pos rmatmul".split()  # noqa: SIM905
)


def _is_augmented(name: str) -> bool:
    bare = name.strip("_")
    return bare[:1] == "i" and bare[1:] in {
        "add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "and", "or", "xor",
        "lshift", "rshift",
    }  # fmt: skip
