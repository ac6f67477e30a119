#!/usr/bin/env python3
"""flax.nnx.BatchNorm, as a model uses it: split into parameters and statistics, compiled, differentiated by JAX.

Flax's momentum weighs the old value and its channels are the last axis by default, so the layer gets 1 - momentum and
axis=1. 16-bit input with f32 parameters is what `dtype` is for. Its statistics are made in f32 whatever param_dtype
says, so parameters of 16 bits are not claimed. There is no counter and no way not to track. Everything else is as it
comes, the fast variance included.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit
import kit_jax
from kit_jax import DTYPES, from_jax, into_jax

import flax
import jax
import jax.numpy as jnp
from flax import nnx

CLAIMS = """f64 f32 f16_with_f32 bf16_with_f32 train eval train_backward eval_backward double_backward
deferred_backward output_mask no_affine partial_affine rank_any empty""".split()
VARIABLES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


@partial(jax.jit, static_argnames=("graph", "evaluate"))
def apply(leaves, graph, state, evaluate):
    """The layer as a pure function: the output, and the statistics after it."""
    bn = nnx.merge(graph, state)
    for name in leaves.keys() - {"input"}:
        getattr(bn, VARIABLES[name])[...] = leaves[name]
    output = bn(leaves["input"], use_running_average=evaluate)
    return output, nnx.state(bn, nnx.BatchStat)


class Layer(kit.Layer):
    def __init__(self, case):
        self.state, self.first = case["state"], case["steps"][0]
        with kit_jax.precision(self.first):
            with kit_jax.REJECTIONS:
                self.bn = nnx.BatchNorm(case["layer"]["num_features"], **options(case), rngs=nnx.Rngs(0))
            for name, variable in VARIABLES.items():
                if self.state[name]:
                    kind = nnx.Param if name in ("weight", "bias") else nnx.BatchStat
                    setattr(self.bn, variable, kind(into_jax(self.state[name])))

    def buffers(self):
        with kit_jax.precision(self.first):
            return {name: from_jax(getattr(self.bn, VARIABLES[name])[...]) for name in kit.STATISTICS}

    def forward(self, step):
        with kit_jax.precision(step):
            leaves = {"input": into_jax(step["input"])}
            for name in ("weight", "bias"):
                if self.state[name]:
                    leaves[name] = into_jax(self.state[name])
            graph, state = nnx.split(self.bn)
            function = partial(apply, graph=graph, state=state, evaluate=step["mode"] == "eval")
            wanted = kit.wanted(step, self.state)
            output, statistics, backward = kit_jax.forward(function, leaves, step, wanted)
            nnx.update(self.bn, statistics)
            return from_jax(output), backward


def options(case):
    """What the layer is made with, but for its size."""
    layer, state = case["layer"], case["state"]
    made = {"axis": 1, "momentum": 1 - kit.number(layer["momentum"]), "epsilon": kit.number(layer["eps"])}
    made.update(use_scale=bool(state["weight"]), use_bias=bool(state["bias"]))
    dtype = case["steps"][0]["input"]["dtype"]
    if dtype in ("f16", "bf16"):
        made["dtype"] = DTYPES[dtype]
    return made


def time(timing):
    with jax.enable_x64(timing["dtype"] == "f64"):
        dtype = DTYPES[timing["dtype"]]
        bn = nnx.BatchNorm(timing["shape"][1], axis=1, momentum=0.9, param_dtype=dtype, rngs=nnx.Rngs(0))
        graph, state = nnx.split(bn)
        function = partial(apply, graph=graph, state=state, evaluate=timing["op"] == "forward_eval")
        return kit_jax.time(timing, function, {"weight": bn.scale[...], "bias": bn.bias[...]})


# Reproductions

APPLY = '''
@partial(jax.jit, static_argnums=3)
def apply(params, rest, x, evaluate):
    bn = nnx.merge(graph, params, rest)
    return bn(x, use_running_average=evaluate), nnx.state(bn, nnx.BatchStat)
'''.splitlines()


def reproduce(case):
    state = case["state"]
    words = {name: f"jnp.{value.__name__}" if name == "dtype" else value for name, value in options(case).items()}
    arguments = ", ".join(f"{name}={value}" for name, value in words.items())
    lines = [
        "# momentum is PyTorch's subtracted from 1: here it weighs the old value",
        f"bn = nnx.BatchNorm({case['layer']['num_features']}, {arguments}, rngs=nnx.Rngs(0))",
    ]
    for name, variable in VARIABLES.items():
        if state[name]:
            kind = "Param" if name in ("weight", "bias") else "BatchStat"
            lines.append(f"bn.{variable} = nnx.{kind}({kit_jax.literal(state[name])})")
    lines += ["graph, params, rest = nnx.split(bn, nnx.Param, ...)", "", *APPLY]
    imports = ["from functools import partial", "", "import jax", "import jax.numpy as jnp", "from flax import nnx", ""]
    if any(step["input"]["dtype"] == "f64" for step in case["steps"]):
        imports.append('jax.config.update("jax_enable_x64", True)')
    imports.append("jnp.set_printoptions(precision=10, threshold=100000)")
    return kit.script(case, imports, lines, lambda step, mark: step_lines(step, state, mark))


def step_lines(step, state, mark):
    wanted, evaluate = kit.wanted(step, state), step["mode"] == "eval"
    forward = [f"x{mark} = {kit_jax.literal(step['input'])}"]
    if not wanted:
        call = f"y, rest = apply(params, rest, x, {evaluate})".replace("x,", f"x{mark},")
        return [*forward, call, 'print("output", y)', "print(rest)"], []
    forward += [
        f"before{mark} = rest",
        f"f{mark} = lambda params, x: apply(params, before{mark}, x, {evaluate})",
        f"y, pull{mark}, rest = jax.vjp(f{mark}, params, x{mark}, has_aux=True)",
        'print("output", y)',
        "print(rest)",
    ]
    backward = [
        f"g{mark} = {kit_jax.literal(step['grad_output'])}",
        f"of_params, of_input = pull{mark}(g{mark})",
        f'print("gradients of", {wanted}, of_input, of_params)',
    ]
    if step.get("cotangents"):
        names = {"input": "of_input", "weight": "of_params['scale'][...]", "bias": "of_params['bias'][...]"}
        given = {name: step["cotangents"][f"grad_{name}"] for name in wanted}
        terms = [f"({kit_jax.literal(value)} * {names[name]}).sum()" for name, value in given.items() if value]
        backward += [
            "def S(g, params, x):",
            f"    of_params, of_input = jax.vjp(f{mark}, params, x, has_aux=True)[1](g)",
            f"    return {' + '.join(terms)}",
            f'print("second", jax.grad(S, argnums=(0, 1, 2))(g{mark}, params, x{mark}))',
        ]
    return forward, backward


kit.serve("flax", flax.__version__, CLAIMS, Layer, reproduce, time)
