#!/usr/bin/env python3
"""keras.layers.BatchNormalization on the JAX backend, through `stateless_call`, as Keras itself trains with JAX.

Keras's momentum weighs the old value and its channels are the last axis by default, so the layer gets 1 - momentum and
axis=1. A dtype policy says what is computed in what: "mixed_float16" is f16 input with f32 parameters. There is no
counter, and a layer that is not trained normalises by its running statistics, so not tracking is not claimed.
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras

import kit_jax
from kit_jax import from_jax, into_jax

CLAIMS = """f64 f32 f16_with_f32 bf16_with_f32 f16 bf16 train eval train_backward eval_backward double_backward
deferred_backward output_mask no_affine partial_affine rank_any empty""".split()
POLICIES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}
MIXED = {"f16": "mixed_float16", "bf16": "mixed_bfloat16"}
PARAMETERS = ("weight", "bias")


class Layer(kit.Layer):
    def __init__(self, case):
        self.state, self.first = case["state"], case["steps"][0]
        with kit_jax.precision(self.first), kit_jax.REJECTIONS:
            self.layer = keras.layers.BatchNormalization(**options(case))
            self.layer.build(built_for(case))
            self.layer.set_weights([kit.values(self.state[name]) for name in weights(self.state)])
        self.trainable = [variable.value for variable in self.layer.trainable_variables]
        self.statistics = [variable.value for variable in self.layer.non_trainable_variables]

    def buffers(self):
        return {name: from_jax(value) for name, value in zip(kit.STATISTICS, self.statistics)}

    def forward(self, step):
        names = [name for name in PARAMETERS if self.state[name]]

        @jax.jit
        def function(leaves):
            trainable = [leaves[name] for name in names]
            return self.layer.stateless_call(
                trainable, self.statistics, leaves["input"], training=step["mode"] == "train"
            )

        with kit_jax.precision(step):
            leaves = {"input": into_jax(step["input"]), **dict(zip(names, self.trainable))}
            wanted = kit.wanted(step, self.state)
            output, self.statistics, backward = kit_jax.forward(function, leaves, step, wanted)
            return from_jax(output), backward


def options(case):
    """What the layer is made with."""
    layer, state = case["layer"], case["state"]
    parameters, data = state["running_mean"]["dtype"], case["steps"][0]["input"]["dtype"]
    return {
        "axis": 1,
        "momentum": 1 - kit.number(layer["momentum"]),
        "epsilon": kit.number(layer["eps"]),
        "scale": bool(state["weight"]),
        "center": bool(state["bias"]),
        "dtype": MIXED[data] if parameters == "f32" and data in MIXED else POLICIES[parameters],
    }


def built_for(case):
    """The input that the layer is built for: of the first step's rank, since Keras ties a layer to one."""
    rank = max(len(case["steps"][0]["input"]["shape"]), 2)
    return (None, case["layer"]["num_features"], *[None] * (rank - 2))


def weights(state):
    """The parameters and buffers that the layer has, in Keras's order."""
    return [name for name in (*PARAMETERS, *kit.STATISTICS) if state[name]]


def time(timing):
    with jax.enable_x64(timing["dtype"] == "f64"):
        policy = POLICIES[timing["dtype"]]
        layer = keras.layers.BatchNormalization(axis=1, momentum=0.9, epsilon=1e-5, dtype=policy)
        layer.build(tuple(timing["shape"]))
        parameters = [variable.value for variable in layer.trainable_variables]
        statistics = [variable.value for variable in layer.non_trainable_variables]

        def function(leaves):
            trainable = [leaves[name] for name in PARAMETERS]
            training = timing["op"] != "forward_eval"
            return layer.stateless_call(trainable, statistics, leaves["input"], training=training)

        return kit_jax.time(timing, function, dict(zip(PARAMETERS, parameters)))


# Reproductions


def reproduce(case):
    state = case["state"]
    arguments = ", ".join(f"{name}={value!r}" for name, value in options(case).items())
    lines = [
        "# momentum is PyTorch's subtracted from 1: here it weighs the old value",
        f"layer = keras.layers.BatchNormalization({arguments})",
        f"layer.build({built_for(case)})",
        "layer.set_weights([",
        *[f"    np.array({kit.literal(state[name])}),  # {name}" for name in weights(state)],
        "])",
        "trainable = [variable.value for variable in layer.trainable_variables]",
        "statistics = [variable.value for variable in layer.non_trainable_variables]",
    ]
    imports = ["import os", "", 'os.environ["KERAS_BACKEND"] = "jax"']
    imports += ["import jax", "import jax.numpy as jnp", "import keras", "import numpy as np", ""]
    if any(step["input"]["dtype"] == "f64" for step in case["steps"]):
        imports.append('jax.config.update("jax_enable_x64", True)')
    imports.append("np.set_printoptions(precision=10, threshold=100000)")
    return kit.script(case, imports, lines, lambda step, mark: step_lines(step, state, mark))


def step_lines(step, state, mark):
    wanted, x = kit.wanted(step, state), f"x{mark}"
    forward = [
        f"{x} = {kit_jax.literal(step['input'])}",
        f"before{mark} = statistics",
        f"def f{mark}(trainable, x):",
        f"    return layer.stateless_call(trainable, before{mark}, x, training={step['mode'] == 'train'})",
        f"y, pull{mark}, statistics = jax.vjp(f{mark}, trainable, {x}, has_aux=True)",
        'print("output", y)',
        'print("moving mean and variance", statistics)',
    ]
    backward = [
        f"g{mark} = {kit_jax.literal(step['grad_output'])}",
        f"of_trainable, of_input = pull{mark}(g{mark})",
        f'print("gradients of", {wanted}, of_input, of_trainable)',
    ] if wanted else []  # fmt: skip
    if step.get("cotangents"):
        places = {name: f"of_trainable[{i}]" for i, name in enumerate(name for name in PARAMETERS if state[name])}
        places["input"] = "of_input"
        given = {name: step["cotangents"][f"grad_{name}"] for name in wanted}
        terms = [f"({kit_jax.literal(value)} * {places[name]}).sum()" for name, value in given.items() if value]
        backward += [
            "def S(g, trainable, x):",
            f"    of_trainable, of_input = jax.vjp(f{mark}, trainable, x, has_aux=True)[1](g)",
            f"    return {' + '.join(terms)}",
            f'print("second", jax.grad(S, argnums=(0, 1, 2))(g{mark}, trainable, {x}))',
        ]
    return forward, backward


kit.serve("keras", keras.__version__, CLAIMS, Layer, reproduce, time)
