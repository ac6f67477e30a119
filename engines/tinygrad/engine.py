#!/usr/bin/env python3
"""tinygrad.nn.BatchNorm on the CPU, with gradients by Tensor.gradient.

tinygrad is lazy: gradients are derived from the graph of an output that was not computed yet, as every user does who
calls backward() on a loss and computes then. (Of an output that was, the gradients are 0.) So the gradients of a step
are asked for before anything is computed, and a backward pass that waits for other steps is not claimed.

tinygrad compiles with clang, without which its CPU backend does not start. Kernels of bf16 need a clang newer than some
systems have, so bf16 is not claimed. f16 with f32 parameters promotes to f32 by design and is not claimed. One class
serves every rank; there is no reset.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit

os.environ["DEV"] = "CPU"
# Another compiler that the system prefers does not know the options.
os.environ["CC"] = "clang"
# Kernels of a case are few: compiling them in this process is faster than in a pool.
os.environ["PARALLEL"] = "0"
import numpy as np
from tinygrad import Context, Tensor, dtypes, nn

CLAIMS = """f64 f32 f16 train eval train_backward eval_backward double_backward output_mask no_affine partial_affine
no_tracking counter rank_any empty""".split()
DTYPES = {"f64": dtypes.float64, "f32": dtypes.float32, "f16": dtypes.float16}
NUMPY = {"f64": np.float64, "f32": np.float32, "f16": np.float16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# A shape that does not broadcast is rejected by an IndexError of tinygrad's own.
REJECTIONS = kit.Rejections((ValueError, RuntimeError, IndexError))


def into_tinygrad(tensor):
    return Tensor(kit.values(tensor).astype(NUMPY[tensor["dtype"]]))


def from_tinygrad(value):
    return kit.array(NAMES[value.dtype], value.numpy())


class Layer(kit.Layer):
    def __init__(self, case):
        self.state, layer = case["state"], case["layer"]
        with REJECTIONS:
            self.bn = nn.BatchNorm(
                layer["num_features"],
                eps=kit.number(layer["eps"]),
                affine=bool(self.state["weight"] or self.state["bias"]),
                track_running_stats=tracks(case),
                momentum=kit.number(layer["momentum"]),
            )
        for name in ("weight", "bias", *kit.STATISTICS):
            setattr(self.bn, name, self.state[name] and into_tinygrad(self.state[name]))
        if self.state["num_batches_tracked"] is not None:
            self.bn.num_batches_tracked = Tensor(self.state["num_batches_tracked"], dtype=dtypes.int64)

    @property
    def counter(self):
        return None if self.state["num_batches_tracked"] is None else self.bn.num_batches_tracked.item()

    def buffers(self):
        present = [name for name in kit.STATISTICS if self.state[name]]
        return {name: from_tinygrad(getattr(self.bn, name)) for name in present}

    def forward(self, step):
        leaves = {"input": into_tinygrad(step["input"])}
        leaves.update({name: getattr(self.bn, name) for name in ("weight", "bias") if self.state[name]})
        with REJECTIONS, Context(TRAINING=int(step["mode"] == "train")):
            y = self.bn(leaves["input"])
        fields, refusal, wanted = {}, None, kit.wanted(step, self.state)
        if wanted:
            try:
                fields = gradients(step, y, leaves, wanted)
            except kit.Refused as refused:
                refusal = refused
        tracked = [getattr(self.bn, name) for name in kit.STATISTICS if self.state[name]]
        with REJECTIONS:
            Tensor.realize(y, *fields.values(), *tracked, self.bn.num_batches_tracked)

        def backward():
            if refusal:
                raise refusal
            return {name: from_tinygrad(value) for name, value in fields.items()}

        return from_tinygrad(y), backward if wanted else None


def tracks(case):
    """A layer without running statistics is here what one that does not track is."""
    return case["layer"]["track_running_stats"] and any(case["state"][name] for name in kit.STATISTICS)


def gradients(step, y, leaves, wanted):
    """The gradients asked for, and with cotangents the second ones; not computed yet."""
    cotangents = step.get("cotangents")
    grad_output = into_tinygrad(step["grad_output"])
    # A double backward differentiates through every first gradient, whichever are asked for.
    recorded = list(leaves) if cotangents else wanted
    with REJECTIONS:
        first = dict(zip(recorded, y.gradient(*(leaves[name] for name in recorded), gradient=grad_output)))
        fields = {f"grad_{name}": first[name] for name in wanted}
        if cotangents:
            given = {name: cotangents[f"grad_{name}"] for name in recorded}
            terms = [(first[name] * into_tinygrad(value)).sum() for name, value in given.items() if value]
            of = {"output": grad_output, **{name: leaves[name] for name in ("input", "weight") if name in leaves}}
            second = sum(terms[1:], terms[0]).gradient(*of.values())
            fields.update({f"second_grad_{name}": value for name, value in zip(of, second)})
    return fields


def time(timing):
    if timing["op"] == "backward_train":
        raise kit.Unsupported("a backward pass apart from its forward pass")
    x = Tensor(kit.elements(timing["shape"], 0).astype(NUMPY[timing["dtype"]])).realize()
    bn = nn.BatchNorm(timing["shape"][1])
    for name in ("weight", "bias", *kit.STATISTICS):
        setattr(bn, name, getattr(bn, name).cast(DTYPES[timing["dtype"]]).contiguous().realize())

    def forward():
        with Context(TRAINING=int(timing["op"] == "forward_train")):
            return bn(x).realize(bn.running_mean, bn.running_var, bn.num_batches_tracked)

    return kit.clock(timing, forward, Tensor.numpy)


# Reproductions


def literal(tensor):
    shape = f".reshape({tensor['shape']})" if 0 in tensor["shape"] else ""
    return f"Tensor(np.array({kit.literal(tensor)}, np.{NUMPY[tensor['dtype']].__name__}){shape})"


def reproduce(case):
    layer, state = case["layer"], case["state"]
    eps, momentum = kit.number(layer["eps"]), kit.number(layer["momentum"])
    affine = bool(state["weight"] or state["bias"])
    lines = [
        f"bn = nn.BatchNorm({layer['num_features']}, eps={eps}, affine={affine}, momentum={momentum},",
        f"                  track_running_stats={tracks(case)})",
    ]
    for name in ("weight", "bias", *kit.STATISTICS):
        lines.append(f"bn.{name} = {state[name] and literal(state[name])}")
    if state["num_batches_tracked"] is not None:
        lines.append(f"bn.num_batches_tracked = Tensor({state['num_batches_tracked']}, dtype=dtypes.int64)")
    imports = ["import numpy as np", "from tinygrad import Context, Tensor, dtypes, nn", ""]
    imports += ["np.set_printoptions(precision=10, threshold=100000)"]
    imports += ["show = lambda *values: print(*[v.numpy() if isinstance(v, Tensor) else v for v in values])"]
    return kit.script(case, imports, lines, lambda step, _: (step_lines(step, state), []))


def step_lines(step, state):
    wanted, twice = kit.wanted(step, state), step.get("cotangents")
    lines = [f"x = {literal(step['input'])}", f"with Context(TRAINING={int(step['mode'] == 'train')}):"]
    lines += ["    y = bn(x)"]
    if wanted:
        names = {"input": "x", "weight": "bn.weight", "bias": "bn.bias"}
        lines += [f"g = {literal(step['grad_output'])}"]
        lines += [f"gradients = y.gradient({', '.join(names[name] for name in wanted)}, gradient=g)"]
    if twice:
        given = [(index, twice[f"grad_{name}"]) for index, name in enumerate(wanted)]
        terms = [f"({literal(value)} * gradients[{index}]).sum()" for index, value in given if value]
        lines += [f"S = {' + '.join(terms)}", f"second = S.gradient(g, x{', bn.weight' if state['weight'] else ''})"]
    buffers = [f"bn.{name}" for name in (*kit.STATISTICS, "num_batches_tracked") if state[name] is not None]
    computed = ["y", *(["*gradients"] if wanted else []), *(["*second"] if twice else []), *buffers]
    lines += [f"Tensor.realize({', '.join(computed)})", 'show("output", y)']
    lines += [f'show("gradients of", {wanted}, *gradients)'] if wanted else []
    lines += ['show("second", *second)'] if twice else []
    return [*lines, *(f'show("{buffer}", {buffer})' for buffer in buffers)]


kit.serve("tinygrad", version("tinygrad"), CLAIMS, Layer, reproduce, time)
