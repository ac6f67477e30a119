"""Your batch norm in the suite: bn check --command 'python3 template.py', and then docs/plug-in.md."""
import array, json, math
HELLO = {"hello": {"name": "template", "version": "1", "claims": ["f32", "f64", "train", "eval", "rank_any"]}}
WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # JSON has no numbers for them

# >>> Yours: gives the output for x, (N, C, *) row by row, and moves the running statistics.
def batch_norm(x, shape, training, eps, momentum, weight, bias, running_mean, running_var):
    channels, inner, n = shape[1], math.prod(shape[2:]), len(x) // shape[1]
    lengths = {len(vector) for vector in (weight, bias, running_mean, running_var)}
    if lengths != {channels} or eps < 0 or training and (eps == 0 or n == 1):
        raise ValueError(f"{n} values in {channels} channels, not {len(weight)}, eps {eps}")  # a refusal
    mean, var, channel = list(running_mean), list(running_var), [i // inner % channels for i in range(len(x))]
    for c in range(channels if training else 0):
        values = [v for at in range(c * inner, len(x), channels * inner) for v in x[at:at + inner]]
        mean[c] = sum(values) / n
        var[c] = sum((v - mean[c]) * (v - mean[c]) for v in values) / n
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * var[c] * n / (n - 1)
    return [weight[c] * (v - mean[c]) / math.sqrt(var[c] + eps) + bias[c] for v, c in zip(x, channel)]
# <<< Below, nothing needs a change before you claim more.

def elements(tensor):  # float takes "NaN" and "Infinity" too, and an array rounds what is put into it
    return array.array("f" if tensor["dtype"] == "f32" else "d", map(float, tensor["data"]))
def tensor(values, shape=None):
    data = [WORDS.get(str(value), value) for value in values]
    return {"dtype": f"f{8 * values.itemsize}", "shape": shape or [len(values)], "data": data}
def play(layer, state, steps, **_):
    eps, momentum = float(layer["eps"]), float(layer["momentum"])
    state = {name: elements(value) for name, value in state.items() if value}
    for step in steps:
        x, shape, outcome = elements(step["input"]), step["input"]["shape"], {"fields": {}}
        try:
            y = batch_norm(x, shape, step["mode"] == "train", eps, momentum, **state)
            outcome["fields"]["output"] = tensor(array.array(x.typecode, y), shape)
        except ValueError as reason:
            outcome["refused"] = {"kind": "unsorted", "message": str(reason)}
        outcome["fields"] |= {name: tensor(state[name]) for name in ("running_mean", "running_var")}
        yield outcome
for request in iter(lambda: json.loads(input()), "bye"):
    print(json.dumps({"outcomes": [*play(**request["run"])]} if "run" in request else HELLO), flush=True)
