#!/usr/bin/env python3
"""PyTorch's modules: torch.nn.BatchNorm1d, 2d and 3d, driven as a user drives them.

The modules differ in the ranks that they take and in nothing else; rank "any" has SyncBatchNorm's check of it.
Gradients come from torch.autograd.grad. Folding is not claimed, since it is torch.nn.utils.fusion that folds and no
module; nor are batches in parts, which SyncBatchNorm joins on a GPU only. One thread, because some results depend on their number.
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit

import torch

CLAIMS = """f64 f32 f16_with_f32 bf16_with_f32 f16 bf16 other_dtypes train eval train_backward eval_backward
double_backward deferred_backward output_mask no_affine partial_affine no_tracking cumulative_momentum counter rank_1d
rank_2d rank_3d rank_any channels_last strided empty reset""".split()


class BatchNormAny(torch.nn.BatchNorm1d):
    """Batch norm for every rank from 2 up."""

    _check_input_dim = torch.nn.SyncBatchNorm._check_input_dim


CLASSES = {"1d": torch.nn.BatchNorm1d, "2d": torch.nn.BatchNorm2d, "3d": torch.nn.BatchNorm3d, "any": BatchNormAny}
DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

# A momentum of None divides by the counter, so that PyTorch refuses a counter of 0 by a ZeroDivisionError.
KINDS = [
    ("D input (got ", "rank"),
    ("division by zero", "counter_zero"),
    ("Expected more than 1 value per channel", "too_few_values"),
    ("must either both be None or neither be None", "running_stats"),
    ("must be defined in evaluation mode", "running_stats"),
    ("must not be None", "running_stats"),
    ("should contain ", "num_features"),
    ("eps must be", "eps"),
    ("expected scalar type", "dtype"),
    ("mixed dtype (CPU)", "dtype"),
    ("not implemented for '", "dtype"),
    ("Only Tensors of floating point", "dtype"),
    ("native/cpu/Loops.h", "dtype"),
    ("Mismatch in shape", "shape"),
]
FORWARD = kit.Rejections((ValueError, RuntimeError, ZeroDivisionError), KINDS)
BACKWARD = kit.Rejections((RuntimeError,), KINDS)


def into_torch(tensor):
    """The array as a tensor in the memory order that it has."""
    buffer, strides, offset = kit.memory(tensor)
    return torch.from_numpy(buffer).to(DTYPES[tensor["dtype"]]).as_strided(tensor["shape"], strides, offset)


def from_torch(tensor, like="contiguous"):
    """The tensor as an array. Where its extents leave the memory order open it has the input's."""
    tensor = tensor.detach()
    order = memory_order(tensor, like)
    return kit.array(NAMES[tensor.dtype], tensor.to(torch.float64).contiguous().numpy(), order)


def memory_order(tensor, like):
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    channels_last = tensor.dim() in formats and tensor.is_contiguous(memory_format=formats[tensor.dim()])
    if channels_last and (like == "channels_last" or not tensor.is_contiguous()):
        return "channels_last"
    if tensor.is_contiguous():
        return "contiguous"
    return {"strided": {"strides": list(tensor.stride()), "offset": 0}}


class Layer(kit.Layer):
    def __init__(self, case):
        self.state = state = case["state"]
        layer = case["layer"]
        self.module = module = CLASSES[layer["rank"]](
            layer["num_features"],
            eps=kit.number(layer["eps"]),
            momentum=None if layer["momentum"] is None else kit.number(layer["momentum"]),
            affine=bool(state["weight"] or state["bias"]),
            track_running_stats=layer["track_running_stats"],
        )
        for name in ("weight", "bias"):
            parameter = state[name] and torch.nn.Parameter(into_torch(state[name]), requires_grad=False)
            setattr(module, name, parameter)
        for name in kit.STATISTICS:
            setattr(module, name, state[name] and into_torch(state[name]))
        count = state["num_batches_tracked"]
        module.num_batches_tracked = None if count is None else torch.tensor(count)

    @property
    def counter(self):
        count = self.module.num_batches_tracked
        return None if count is None else count.item()

    def arrays(self, names):
        """Parameters or buffers; not those of integers, which no step accepts or changes."""
        tensors = {name: getattr(self.module, name) for name in names}
        return {name: from_torch(t) for name, t in tensors.items() if t is not None and t.is_floating_point()}

    def buffers(self):
        return self.arrays(kit.STATISTICS)

    def forward(self, step):
        wanted = kit.wanted(step, self.state)
        # A double backward differentiates through every first gradient, whichever are asked for.
        recorded = ("input", "weight", "bias") if step.get("cotangents") else wanted
        leaves = {"input": into_torch(step["input"])}
        for name in ("weight", "bias"):
            # Each pass has parameters of its own, with the same memory, since each may ask for other gradients.
            parameter = getattr(self.module, name)
            leaves[name] = parameter if parameter is None else torch.nn.Parameter(parameter.detach(), False)
            setattr(self.module, name, leaves[name])
        for name, leaf in leaves.items():
            if leaf is not None and leaf.is_floating_point():
                leaf.requires_grad_(name in recorded)
        self.module.train(step["mode"] == "train")
        with FORWARD:
            y = self.module(leaves["input"])
        output = from_torch(y, step["input"].get("layout"))
        if not step.get("grad_output"):
            return output, None
        leaves = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
        return output, lambda: backward(step, y, leaves, wanted)

    def reset(self, what):
        """PyTorch resets a buffer without looking whether it is there. No constructor leaves one out and keeps the
        other, as cases do, so what is missing is there while the module resets."""
        buffers = (*kit.STATISTICS, "num_batches_tracked")
        missing = [name for name in buffers if getattr(self.module, name) is None]
        for name in missing:
            setattr(self.module, name, torch.ones(self.module.num_features))
        getattr(self.module, f"reset_{what}")()
        for name in missing:
            setattr(self.module, name, None)
        return self.arrays(("weight", "bias"))


def backward(step, y, leaves, wanted):
    """The gradients asked for, and with cotangents the second ones."""
    cotangents = step.get("cotangents")
    grad_output = into_torch(step["grad_output"]).requires_grad_(bool(cotangents))
    if not leaves:
        return {}
    with BACKWARD:
        gradients = gradients_of([y], leaves, [grad_output], create_graph=bool(cotangents))
    fields = {f"grad_{name}": gradients[name] for name in wanted}
    if cotangents:
        named = {name: cotangents[f"grad_{name}"] for name in leaves}
        given = {name: into_torch(cotangent) for name, cotangent in named.items() if cotangent}
        # What does not depend on anything has no second gradient, and autograd does not take it.
        given = {name: cotangent for name, cotangent in given.items() if gradients[name].requires_grad}
        of = {"output": grad_output, "input": leaves["input"]}
        of.update({"weight": leaves["weight"]} if "weight" in leaves else {})
        with BACKWARD:
            second = gradients_of([gradients[name] for name in given], of, list(given.values()))
        names = {"output": "second_grad_output", "input": "second_grad_input", "weight": "second_grad_weight"}
        fields.update({names[name]: gradient for name, gradient in second.items()})
    layout = step["input"].get("layout")
    return {name: from_torch(gradient, layout) for name, gradient in fields.items()}


def gradients_of(outputs, leaves, cotangents, create_graph=False):
    """One gradient for each leaf, by its name; zeros where the outputs do not depend on it."""
    if not outputs:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    gradients = torch.autograd.grad(
        outputs,
        list(leaves.values()),
        cotangents,
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )
    return dict(zip(leaves, gradients))


def time(timing):
    """Uses as many threads as the process may; they are one again afterwards."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        dtype = DTYPES[timing["dtype"]]
        backward = timing["op"] == "backward_train"
        x, grad_output = (
            torch.from_numpy(kit.elements(timing["shape"], stream)).to(dtype) for stream in (0, 1)
        )
        bn = torch.nn.BatchNorm2d(timing["shape"][1], dtype=dtype).train(timing["op"] != "forward_eval")
        leaves = [x.requires_grad_(backward), bn.weight.requires_grad_(backward), bn.bias.requires_grad_(backward)]
        if backward:
            call = lambda y: torch.autograd.grad(y, leaves, grad_output)
            return kit.clock(timing, call, lambda gradients: gradients[0].double().numpy(), lambda: [bn(x)])
        return kit.clock(timing, bn, lambda y: y.double().numpy(), lambda: [x])
    finally:
        torch.set_num_threads(1)


# Reproductions


def tensor_literal(tensor):
    """Python that makes the tensor, in its memory order."""
    dtype, layout = DTYPES[tensor["dtype"]], tensor.get("layout", "contiguous")
    made = f"torch.tensor({kit.literal(tensor)}, dtype={dtype})"
    if 0 in tensor["shape"]:
        made = f"torch.empty({tensor['shape']}, dtype={dtype})"
    if layout == "channels_last":
        return f"{made}.to(memory_format=torch.channels_last{'_3d' if len(tensor['shape']) == 5 else ''})"
    if layout != "contiguous":
        buffer, strides, offset = kit.memory(tensor)
        flat = kit.literal({"data": buffer.tolist(), "shape": buffer.shape, "dtype": tensor["dtype"]})
        return f"torch.tensor({flat}, dtype={dtype}).as_strided({tensor['shape']}, {strides}, {offset})"
    return made


def reproduce(case):
    layer, state = case["layer"], case["state"]
    eps, momentum = (None if layer[name] is None else kit.number(layer[name]) for name in ("eps", "momentum"))
    rank = "1d" if layer["rank"] == "any" else layer["rank"]
    any_rank = ["torch.nn.BatchNorm1d._check_input_dim = torch.nn.SyncBatchNorm._check_input_dim"]
    lines = [
        *(any_rank if layer["rank"] == "any" else []),
        f"bn = torch.nn.BatchNorm{rank}(",
        f"    {layer['num_features']}, eps={eps}, momentum={momentum},",
        f"    affine={bool(state['weight'] or state['bias'])}, track_running_stats={layer['track_running_stats']},",
        ")",
    ]
    for name in ("weight", "bias"):
        value = state[name] and f"torch.nn.Parameter({tensor_literal(state[name])})"
        lines.append(f"bn.{name} = {value}")
    for name in kit.STATISTICS:
        lines.append(f"bn.{name} = {state[name] and tensor_literal(state[name])}")
    count = state["num_batches_tracked"]
    lines.append(f"bn.num_batches_tracked = {None if count is None else f'torch.tensor({count})'}")
    imports = ["import torch", "torch.set_num_threads(1)"]
    imports.append("torch.set_printoptions(precision=10, threshold=100000)")
    return kit.script(case, imports, lines, lambda step, mark: step_lines(step, state, mark))


def step_lines(step, state, mark):
    if step["op"] == "reset":
        return [f"bn.reset_{step['what']}()", "print(bn.state_dict())"], []
    wanted = kit.wanted(step, state)
    x, y, g = f"x{mark}", f"y{mark}", f"g{mark}"
    forward = [f"{x} = {tensor_literal(step['input'])}" + (".requires_grad_()" if wanted else "")]
    forward += [f"{y} = bn.{step['mode']}()({x})", f'print("output", {y})', "print(list(bn.named_buffers()))"]
    if not wanted:
        return forward, []
    twice = step.get("cotangents")
    names = {"input": x, "weight": "bn.weight", "bias": "bn.bias"}
    leaves = ", ".join(names[name] for name in wanted)
    backward = [f"{g} = {tensor_literal(step['grad_output'])}" + (".requires_grad_()" if twice else "")]
    backward += [f"gradients = torch.autograd.grad({y}, [{leaves}], {g}{', create_graph=True' if twice else ''})"]
    backward += [f'print("gradients of", {wanted}, gradients)']
    if twice:
        given = [(index, twice[f"grad_{name}"]) for index, name in enumerate(wanted)]
        terms = [f"({tensor_literal(value)} * gradients[{index}]).sum()" for index, value in given if value]
        leaves = f"({g}, {x}, bn.weight)" if state["weight"] else f"({g}, {x})"
        backward += [f"S = {' + '.join(terms)}"]
        backward += [f'print("second", torch.autograd.grad(S, {leaves}, materialize_grads=True))']
    return forward, backward


torch.set_num_threads(1)
kit.serve("torch", torch.__version__, CLAIMS, Layer, reproduce, time, kernels="libtorch")
