#!/usr/bin/env python3
"""mlx.nn.BatchNorm on the CPU.

Its channels are the last axis, so arrays pass through a transposed view on their way in and out; what they look like
in memory is not for a user of MLX to see, so channels-last input is not claimed. It takes ranks 2 to 4. MLX computes
the output and the gradients in one call, `mx.vjp`, so a backward pass cannot wait for other steps. f16 with f32
parameters promotes to f32 by design and is not claimed.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit

import mlx.core as mx
import mlx.nn as nn
import numpy as np

CLAIMS = """f64 f32 f16 bf16 train eval train_backward eval_backward double_backward output_mask no_affine no_tracking
rank_any strided empty""".split()
DTYPES = {"f64": mx.float64, "f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
REJECTIONS = kit.Rejections((ValueError, TypeError), [("does not match cotangent shape", "shape")])


def into_mlx(tensor):
    buffer, strides, offset = kit.memory(tensor)
    flat = mx.array(buffer, dtype=DTYPES[tensor["dtype"]])
    if 0 in tensor["shape"]:
        return flat[:0].reshape(tensor["shape"])
    return mx.as_strided(flat, tensor["shape"], strides, offset)


def from_mlx(value):
    return kit.array(NAMES[value.dtype], np.array(value.astype(mx.float64)))


class Layer(kit.Layer):
    def __init__(self, case):
        self.state, layer = case["state"], case["layer"]
        with REJECTIONS:
            self.bn = nn.BatchNorm(
                layer["num_features"],
                eps=kit.number(layer["eps"]),
                momentum=kit.number(layer["momentum"]),
                affine=bool(self.state["weight"]),
                track_running_stats=tracks(case),
            )
        for name in ("weight", "bias", *kit.STATISTICS):
            if self.state[name]:
                setattr(self.bn, name, into_mlx(self.state[name]))
            else:
                self.bn.pop(name, None)

    def buffers(self):
        return {name: from_mlx(self.bn[name]) for name in kit.STATISTICS if name in self.bn}

    def forward(self, step):
        wanted, twice = kit.wanted(step, self.state), step.get("cotangents")
        leaves = {"input": into_mlx(step["input"])}
        leaves.update({name: self.bn[name] for name in ("weight", "bias") if self.state[name]})
        # A double backward differentiates through every first gradient, whichever are asked for.
        recorded = list(leaves) if twice else wanted
        self.bn.train(step["mode"] == "train")
        grad_output = into_mlx(step["grad_output"]) if wanted else None
        if twice:
            answers = self.second(step, leaves, grad_output)
        else:
            answers = self.first(leaves, recorded, grad_output)
        output = from_mlx(answers.pop("output"))
        fields = {name: from_mlx(value) for name, value in answers.items()}
        fields = {name: field for name, field in fields.items() if is_asked_for(name, wanted)}
        return output, (lambda: fields) if step.get("grad_output") else None

    def call(self, leaves):
        """The layer with these parameters, on an input with the channels in their place."""
        for name in leaves.keys() - {"input"}:
            self.bn[name] = leaves[name]
        x = leaves["input"]
        return mx.moveaxis(self.bn(mx.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else self.bn(x)

    def first(self, leaves, recorded, grad_output):
        """The output, and the gradients of what is recorded."""

        def function(*values):
            return self.call({**leaves, **dict(zip(recorded, values))})

        with REJECTIONS, self.keeping(leaves):
            if recorded:
                [output], gradients = mx.vjp(function, [leaves[name] for name in recorded], [grad_output])
            else:
                output, gradients = function(), []
        with REJECTIONS:
            mx.eval(output, gradients, self.bn.state)
        return {"output": output, **{f"grad_{name}": value for name, value in zip(recorded, gradients)}}

    def second(self, step, leaves, grad_output):
        """The output, first and second gradients: the pass that gives the first ones is differentiated in its turn."""
        names = list(leaves)

        def function(grad_output, *values):
            inner = lambda *values: self.call(dict(zip(names, values)))
            outputs, gradients = mx.vjp(inner, list(values), [grad_output])
            return [*gradients, *outputs]

        given = [step["cotangents"][f"grad_{name}"] for name in names]
        cotangents = [into_mlx(value) if value else mx.zeros_like(leaves[name]) for name, value in zip(names, given)]
        cotangents.append(mx.zeros_like(grad_output))
        with REJECTIONS, self.keeping(leaves):
            answers, of = mx.vjp(function, [grad_output, *leaves.values()], cotangents)
        with REJECTIONS:
            mx.eval(answers, of, self.bn.state)
        *gradients, output = answers
        first = {f"grad_{name}": value for name, value in zip(names, gradients)}
        second = {f"second_grad_{name}": value for name, value in zip(["output", *names], of)}
        second.pop("second_grad_bias", None)
        return {"output": output, **first, **second}

    @contextmanager
    def keeping(self, leaves):
        """Afterwards the parameters are again these, and not the variables of a derivative that stood in for them."""
        try:
            yield
        finally:
            for name in leaves.keys() - {"input"}:
                self.bn[name] = leaves[name]


def tracks(case):
    """A layer without running statistics is here what one that does not track is."""
    return case["layer"]["track_running_stats"] and any(case["state"][name] for name in kit.STATISTICS)


def is_asked_for(field, wanted):
    return field.startswith("second_") or field.removeprefix("grad_") in wanted


def time(timing):
    dtype, training = DTYPES[timing["dtype"]], timing["op"] != "forward_eval"
    x, grad_output = (native(timing, stream) for stream in (0, 1))
    bn = nn.BatchNorm(timing["shape"][1]).train(training)
    bn.set_dtype(dtype)
    mx.eval(bn.state)
    planar = lambda answer: np.array(mx.moveaxis(answer, -1, 1).astype(mx.float64))
    if timing["op"] != "backward_train":
        return kit.clock(timing, lambda: evaluated(bn(x), bn), planar)
    raise kit.Unsupported("a backward pass without its forward pass")


def native(timing, stream):
    """The array in MLX's order, the channels last."""
    values = np.moveaxis(kit.elements(timing["shape"], stream), 1, -1)
    array = mx.array(np.ascontiguousarray(values), dtype=DTYPES[timing["dtype"]])
    mx.eval(array)
    return array


def evaluated(output, bn):
    mx.eval(output, bn.state)
    return output


# Reproductions


def literal(tensor):
    shape = f".reshape({tensor['shape']})" if 0 in tensor["shape"] else ""
    dtype = str(DTYPES[tensor["dtype"]]).removeprefix("mlx.core.")
    made = f"mx.array({kit.literal(tensor)}, mx.{dtype}){shape}"
    if isinstance(tensor.get("layout"), dict):
        buffer, strides, offset = kit.memory(tensor)
        flat = kit.literal({"data": buffer.tolist(), "shape": buffer.shape, "dtype": tensor["dtype"]})
        made = f"mx.as_strided(mx.array({flat}, mx.{dtype}), {tensor['shape']}, {strides}, {offset})"
    return made


def reproduce(case):
    layer, state = case["layer"], case["state"]
    eps, momentum = kit.number(layer["eps"]), kit.number(layer["momentum"])
    options = f"affine={bool(state['weight'])}, track_running_stats={tracks(case)}"
    lines = [f"bn = nn.BatchNorm({layer['num_features']}, eps={eps}, momentum={momentum}, {options})"]
    for name in ("weight", "bias", *kit.STATISTICS):
        if state[name]:
            lines.append(f"bn.{name} = {literal(state[name])}")
    names = [name for name in ("weight", "bias") if state[name]]
    lines += [
        "",
        f"def f({', '.join(['x', *names])}):",
        *[f"    bn.{name} = {name}" for name in names],
        "    return mx.moveaxis(bn(mx.moveaxis(x, 1, -1)), -1, 1)  # the channels are axis 1 outside",
    ]
    imports = ["import mlx.core as mx", "import mlx.nn as nn", "import numpy as np", ""]
    imports += ["np.set_printoptions(precision=10, threshold=100000)"]
    imports += ["show = lambda name, value: print(name, np.array(value.astype(mx.float64)))"]
    return kit.script(case, imports, lines, lambda step, _: (step_lines(step, state, names), []))


def step_lines(step, state, names):
    wanted, leaves = kit.wanted(step, state), ", ".join(["x", *(f"bn.{name}" for name in names)])
    lines = [f"bn.train({step['mode'] == 'train'})", f"x = {literal(step['input'])}"]
    if not wanted:
        lines += [f"y = f({leaves})"]
    else:
        lines += [f"g = {literal(step['grad_output'])}"]
        lines += [f"leaves = [{leaves}]", "[y], gradients = mx.vjp(f, leaves, [g])"]
        lines += [f"bn.{name} = leaves[{index + 1}]" for index, name in enumerate(names)]
    lines += ['show("output", y)']
    if wanted:
        lines += [f'show("grad_{name}", gradients[{i}])' for i, name in enumerate(["input", *names])]
    if step.get("cotangents"):
        given = {name: step["cotangents"][f"grad_{name}"] for name in ["input", *names]}
        terms = [f"({literal(v)} * gradients[{i}]).sum()" for i, v in enumerate(given.values()) if v]
        lines += ["def S(g, *leaves):", "    _, gradients = mx.vjp(f, list(leaves), [g])"]
        lines += [f"    return {' + '.join(terms)}", "one = mx.array(1.0, g.dtype)"]
        lines += ["_, second = mx.vjp(S, [g, *leaves], [one])"]
        lines += [f"bn.{name} = leaves[{index + 1}]" for index, name in enumerate(names)]
        lines += ['for name, value in zip(["g", "x", "weight"], second): show(f"second of {name}", value)']
    lines += [f'show("{name}", bn.{name})' for name in kit.STATISTICS if state[name]]
    return lines


mx.set_default_device(mx.cpu)
kit.serve("mlx", mx.__version__, CLAIMS, Layer, reproduce, time)
