"""Gradients by JAX, for the engines whose frameworks compute with it.

The layer is given as a pure function: `function(leaves) -> (output, state)`, where `leaves` are the arrays that can
be differentiated: "input", and "weight" and "bias" where the layer has them.
"""

import jax
import jax.numpy as jnp
import numpy as np

import kit

DTYPES = {
    "f64": jnp.float64,
    "f32": jnp.float32,
    "f16": jnp.float16,
    "bf16": jnp.bfloat16,
    "i64": jnp.int64,
    "bool": jnp.bool_,
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
# How JAX rejects shapes and dtypes.
REJECTIONS = kit.Rejections((TypeError, ValueError), [("argument to VJP function", "shape")])


def precision(step):
    """JAX has no f64 unless it is asked for. Only a step in f64 asks, so that the others run as users run them."""
    return jax.enable_x64(step["input"]["dtype"] == "f64")


def into_jax(tensor):
    return jnp.asarray(kit.values(tensor), DTYPES[tensor["dtype"]])


def from_jax(value):
    return kit.array(NAMES[value.dtype], np.asarray(value).astype(np.float64))


def forward(function, leaves, step, wanted):
    """The output, the state after the step, and the backward pass if gradients are wanted."""
    cotangents = step.get("cotangents")
    # A double backward differentiates through every first gradient, whichever are asked for.
    recorded = leaves if cotangents else {name: leaves[name] for name in wanted}
    rest = {name: leaf for name, leaf in leaves.items() if name not in recorded}

    def call(recorded):
        return function({**rest, **recorded})

    with REJECTIONS:
        if not recorded:
            output, state = jax.block_until_ready(call({}))
            return output, state, (dict if step.get("grad_output") else None)
        output, pull, state = jax.block_until_ready(jax.vjp(call, recorded, has_aux=True))

    def backward():
        with precision(step):
            if cotangents:
                return second(call, recorded, step, wanted)
            grad_output = into_jax(step["grad_output"])
            with REJECTIONS:
                [gradients] = pull(grad_output)
            return {f"grad_{name}": from_jax(gradients[name]) for name in wanted}

    return output, state, backward


def second(call, leaves, step, wanted):
    """First and second gradients: the pass that gives the first ones is differentiated in its turn."""

    def first(grad_output, leaves):
        _, pull, _ = jax.vjp(call, leaves, has_aux=True)
        return pull(grad_output)[0]

    grad_output = into_jax(step["grad_output"])
    with REJECTIONS:
        gradients, pull = jax.vjp(first, grad_output, leaves)
    given = {name: step["cotangents"][f"grad_{name}"] for name in leaves}
    given = {name: into_jax(value) if value else jnp.zeros_like(leaves[name]) for name, value in given.items()}
    with REJECTIONS:
        of_output, of_leaves = pull(given)
    fields = {f"grad_{name}": gradients[name] for name in wanted}
    fields["second_grad_output"] = of_output
    fields.update({f"second_grad_{name}": of_leaves[name] for name in ("input", "weight") if name in of_leaves})
    return {name: from_jax(value) for name, value in fields.items()}


def time(timing, function, leaves):
    """Times `function`, compiled, as `kit.clock` does."""
    leaves = {"input": jnp.asarray(kit.elements(timing["shape"], 0), DTYPES[timing["dtype"]]), **leaves}
    grad_output = jnp.asarray(kit.elements(timing["shape"], 1), DTYPES[timing["dtype"]])
    if timing["op"] == "backward_train":
        forward = jax.jit(lambda leaves: jax.vjp(function, leaves, has_aux=True))
        pull = jax.jit(lambda pull, grad_output: pull(grad_output)[0])
        call = lambda residuals: jax.block_until_ready(pull(residuals, grad_output))
        return kit.clock(
            timing,
            call,
            lambda gradients: gradients["input"],
            lambda: [jax.block_until_ready(forward(leaves))[1]],
        )
    call = jax.jit(function)
    return kit.clock(timing, lambda: jax.block_until_ready(call(leaves)), lambda answer: answer[0])


def literal(tensor):
    """Python that makes the array."""
    dtype = DTYPES[tensor["dtype"]].__name__
    if 0 in tensor["shape"]:
        return f"jnp.zeros({tensor['shape']}, jnp.{dtype})"
    return f"jnp.array({kit.literal(tensor)}, jnp.{dtype})"
