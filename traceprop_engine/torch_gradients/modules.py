"""What a module must be for its rows to have gradients, and how it is left as it was found."""

import copy
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from traceprop_engine.errors import (
    ModuleShapeError,
    ModuleStateError,
    UndefinedRowGradientError,
    UntrainableModuleError,
)

State = Mapping[str, NDArray[np.generic]]
"""Parameters and buffers of a module by their names."""


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, in the order of the module, each once.

    Raises:
        UntrainableModuleError: There is none, or one is not in single or double precision.
    """
    trained = {name: one for name, one in module.named_parameters() if one.requires_grad}
    kind = type(module).__name__
    if not trained:
        raise UntrainableModuleError(
            kind, "it has no parameter with requires_grad=True", "unfreeze what is trained"
        )
    for name, parameter in trained.items():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise UntrainableModuleError(
                kind, f"parameter {name!r} has type {parameter.dtype}", "call `.float()` on it"
            )
    return trained


def refuse_undefined(module: nn.Module) -> None:
    """Refuse layers that are known to mix rows, or to change when they are used.

    Raises:
        UndefinedRowGradientError: There is such a layer; the message names it.
        UntrainableModuleError: The module is compiled, so that its layers cannot be seen.
    """
    if hasattr(module, "_orig_mod"):
        raise UntrainableModuleError(
            "A compiled module",
            "its layers cannot be seen",
            "pass the module that was given to torch.compile",
        )
    for name, layer in module.named_modules():
        reason = _mixing(layer)
        if reason is not None:
            kind = f"Layer {name!r} ({type(layer).__name__})"
            raise UndefinedRowGradientError(kind, *reason)


@contextmanager
def undisturbed(module: nn.Module) -> Generator[None]:
    """Put a module into evaluation mode; its modes and all random states are as before at the end.

    Batch normalisation then uses its running statistics, and dropout does nothing. Derivatives are
    recorded, in the precision of the parameters, whatever holds outside.
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    kinds = {one.device.type for one in module.parameters()}
    with ExitStack() as settings:
        settings.enter_context(torch.random.fork_rng(devices=cuda_devices(module)))
        settings.enter_context(torch.inference_mode(mode=False))
        settings.enter_context(torch.enable_grad())
        for kind in kinds:
            settings.enter_context(torch.autocast(kind, enabled=False))
        try:
            module.eval()
            yield
        finally:
            for layer, mode in modes:
                layer.training = mode


def cuda_devices(module: nn.Module) -> list[int]:
    """Return the numbers of the GPUs that hold a module's parameters."""
    devices = {one.device for one in module.parameters()}
    return sorted(one.index for one in devices if one.type == "cuda")


def private_copy(module: nn.Module) -> nn.Module:
    """Return a copy that shares nothing with the module, without its gradients.

    Raises:
        UntrainableModuleError: It holds something that cannot be copied.
    """
    try:
        mine = copy.deepcopy(module)
    except (RuntimeError, TypeError) as problem:
        raise UntrainableModuleError(
            type(module).__name__,
            f"it cannot be copied ({problem})",
            "replace what computes its weights by torch.nn.utils.parametrizations",
        ) from problem
    mine.zero_grad(set_to_none=True)
    return mine


def state_of(module: nn.Module) -> State:
    """Return a copy of a module's parameters and buffers.

    Raises:
        UntrainableModuleError: Its state holds something other than tensors.
    """
    return arrays_of(module.state_dict(), type(module).__name__)


def arrays_of(state: Mapping[str, object], owner: str) -> State:
    """Return a state dict as read-only NumPy arrays of its own.

    Raises:
        UntrainableModuleError: It holds something that NumPy has no array for.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
            raise UntrainableModuleError(owner, f"{name!r} is bfloat16", "call `.float()` on it")
        if not isinstance(value, Tensor | np.ndarray):
            raise UntrainableModuleError(
                owner, f"its state holds {name!r}, which is no tensor", "keep tensors alone in it"
            )
        own = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        array = np.array(own)
        array.flags.writeable = False
        arrays[name] = array
    return arrays


def check_state(module: nn.Module, state: State, origin: str) -> None:
    """Refuse parameters that do not belong to a module.

    Args:
        module: The module.
        state: What is to be its state.
        origin: What to call it, with its article.

    Raises:
        ModuleStateError: Names are missing or too many.
        ModuleShapeError: One has another shape or type.
    """
    wanted = module.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise ModuleStateError(origin, missing, extra)
    for name, tensor in wanted.items():
        ours, theirs = _form(tensor.cpu().numpy()), _form(state[name])
        if ours != theirs:
            raise ModuleShapeError(origin, name, ours, theirs)


def load_state(module: nn.Module, state: State) -> None:
    """Copy a checked state into a module, bit by bit."""
    module.load_state_dict({name: torch.from_numpy(np.array(state[name])) for name in state})


def _form(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _mixing(layer: nn.Module) -> tuple[str, str] | None:
    """Return why a layer mixes rows even in evaluation mode, and the way out."""
    if isinstance(layer, _BatchNorm) and layer.running_mean is None:
        return (
            "it normalises with the statistics of the batch, so every row depends on all others",
            "build it with track_running_stats=True",
        )
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        if layer.max_norm is not None:
            return "max_norm changes its weights whenever it is used", "leave max_norm out"
        if layer.scale_grad_by_freq:
            return (
                "scale_grad_by_freq divides by how often a token is in the batch",
                "leave scale_grad_by_freq out",
            )
    return None
