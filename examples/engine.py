#!/usr/bin/env python3
"""Batch norm in plain Python, plugged into the suite. `template.py` is the shorter one, to copy; this one counts
batches, knows the ranks, and says why it refuses (docs/engine-protocol.md).

    bn check --command 'python3 examples/engine.py'
    bn check --command 'python3 examples/engine.py --biased'    (the most common mistake of all)
"""
import json, math, struct, sys

BIASED = "--biased" in sys.argv
CLAIMS = ["f64", "f32", "train", "eval", "counter", "rank_1d", "rank_2d", "rank_3d", "rank_any"]
RANKS = {"1d": (2, 3), "2d": (4,), "3d": (5,), "any": range(2, 99)}


class Refused(Exception):
    """What batch norm declines: a kind of the suite's, and a message of one's own."""


def number(value):  # JSON has no NaN and no infinities
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value)


def tensor(dtype, shape, values):
    rounded = [struct.unpack("f", struct.pack("f", v))[0] if dtype == "f32" else v for v in values]
    words = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return {"dtype": dtype, "shape": shape, "data": ["NaN" if v != v else words.get(v, v) for v in rounded]}


def forward(layer, state, mode, x, shape):
    """One step: changes `state`, returns the output."""
    if len(shape) not in RANKS[layer["rank"]]:
        raise Refused("rank", f"a {layer['rank']} layer does not take {len(shape)}D input")
    batch, channels, inner = shape[0], shape[1], math.prod(shape[2:])
    n = batch * inner
    if mode == "train":
        if state["num_batches_tracked"] is not None:
            state["num_batches_tracked"] += 1
        if n == 1:
            raise Refused("too_few_values", f"expected more than 1 value per channel, got shape {shape}")
    eps, momentum = number(layer["eps"]), number(layer["momentum"])
    if eps < 0 or (mode == "train" and eps == 0):
        raise Refused("eps", f"eps must be positive, got {eps}")
    for name in ("running_mean", "running_var", "weight", "bias"):
        if len(state[name]) != channels:
            raise Refused("num_features", f"{name} has {len(state[name])} elements, the input {channels} channels")
    y = [0.0] * len(x)
    for c in range(channels):
        places = [(b * channels + c) * inner + i for b in range(batch) for i in range(inner)]
        mean, var = state["running_mean"][c], state["running_var"][c]
        if mode == "train":
            mean = math.fsum(x[p] for p in places) / n
            var = math.fsum((x[p] - mean) ** 2 for p in places) / n
            kept = var if BIASED else var * n / (n - 1)
            for name, new in (("running_mean", mean), ("running_var", kept)):
                state[name][c] = (1 - momentum) * state[name][c] + momentum * new
        for p in places:
            y[p] = state["weight"][c] * (x[p] - mean) / math.sqrt(var + eps) + state["bias"][c]
    return y


def run(case):
    parameters = ("weight", "bias", "running_mean", "running_var")
    state = {name: [number(v) for v in case["state"][name]["data"]] for name in parameters}
    state["num_batches_tracked"] = case["state"]["num_batches_tracked"]
    dtype = case["state"]["weight"]["dtype"]
    for step in case["steps"]:
        outcome = {"fields": {}}
        try:
            x, shape = [number(v) for v in step["input"]["data"]], step["input"]["shape"]
            y = forward(case["layer"], state, step["mode"], x, shape)
            outcome["fields"]["output"] = tensor(dtype, shape, y)
        except Refused as reason:
            outcome["refused"] = dict(zip(("kind", "message"), reason.args))
        for name in ("running_mean", "running_var"):
            rounded = tensor(dtype, [len(state[name])], state[name])
            outcome["fields"][name], state[name] = rounded, [number(v) for v in rounded["data"]]
        if state["num_batches_tracked"] is not None:
            outcome["num_batches_tracked"] = state["num_batches_tracked"]
        yield outcome


for line in sys.stdin:
    request = json.loads(line)
    if request == "bye":
        break
    if "hello" in request:
        answer = {"hello": {"name": "plain-python", "version": "1", "claims": CLAIMS}}
    else:
        answer = {"outcomes": list(run(request["run"]))}
    print(json.dumps(answer), flush=True)
