#!/usr/bin/env python3
"""ONNX Runtime on the CPU: a model of one BatchNormalization node, with training_mode 0 to evaluate and 1 to train.

ONNX keeps no state: running mean and variance go in as inputs and come out as outputs. Its momentum weighs the old
value, so the node gets 1 - momentum; momentum and epsilon are f32 attributes whatever the data is. Scale and bias are
required inputs, so a layer without them is not claimed. There are no gradients, and on the CPU no bf16.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
import kit

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, InvalidGraph, NotImplemented

CLAIMS = "f64 f32 f16_with_f32 f16 train eval rank_any empty".split()
REJECTIONS = kit.Rejections((InvalidArgument, InvalidGraph, NotImplemented))
DTYPES = {"f64": np.float64, "f32": np.float32, "f16": np.float16}
TYPES = {"f64": "DOUBLE", "f32": "FLOAT", "f16": "FLOAT16"}
VECTORS = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def model(layer, data, parameters, rank, training):
    """A model of the node for arrays of this rank, whose other extents are open."""

    def value(name, dtype, rank):
        return helper.make_tensor_value_info(name, getattr(TensorProto, TYPES[dtype]), [None] * rank)

    after = ["mean_after", "var_after"] if training else []
    node = helper.make_node(
        "BatchNormalization",
        ["x", *VECTORS.values()],
        ["y", *after],
        epsilon=layer["eps"],
        momentum=1 - layer["momentum"],
        training_mode=int(training),
    )
    inputs = [value("x", data, rank), *(value(name, parameters, 1) for name in VECTORS.values())]
    outputs = [value("y", data, rank), *(value(name, parameters, 1) for name in after)]
    graph = helper.make_graph([node], "batch_norm", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=10)


def session(*arguments):
    return onnxruntime.InferenceSession(model(*arguments).SerializeToString(), providers=["CPUExecutionProvider"])


class Layer(kit.Layer):
    def __init__(self, case):
        self.layer = {name: kit.number(case["layer"][name]) for name in ("eps", "momentum")}
        self.dtype = case["state"]["running_mean"]["dtype"]
        vectors = {name: kit.values(case["state"][name]) for name in VECTORS}
        self.vectors = {name: vector.astype(DTYPES[self.dtype]) for name, vector in vectors.items()}
        self.sessions = {}

    def buffers(self):
        return {name: kit.array(self.dtype, self.vectors[name]) for name in kit.STATISTICS}

    def forward(self, step):
        data, training = step["input"]["dtype"], step["mode"] == "train"
        x = kit.values(step["input"]).astype(DTYPES[data])
        feeds = {"x": x, **{VECTORS[name]: vector for name, vector in self.vectors.items()}}
        kind = (data, self.dtype, x.ndim, training)
        with REJECTIONS:
            if kind not in self.sessions:
                self.sessions[kind] = session(self.layer, *kind)
            y, *statistics = self.sessions[kind].run(None, feeds)
        self.vectors.update(zip(kit.STATISTICS, statistics))
        return kit.array(data, y), None


def time(timing):
    if timing["op"] == "backward_train":
        raise kit.Unsupported("gradients")
    dtype, channels = DTYPES[timing["dtype"]], timing["shape"][1]
    layer, types = {"eps": 1e-5, "momentum": 0.1}, [timing["dtype"]] * 2
    run = session(layer, *types, len(timing["shape"]), timing["op"] == "forward_train").run
    zeros, ones = np.zeros(channels, dtype), np.ones(channels, dtype)
    feeds = {"scale": ones, "bias": zeros, "mean": zeros, "var": ones}
    feeds["x"] = kit.elements(timing["shape"], 0).astype(dtype)
    return kit.clock(timing, lambda: run(None, feeds), lambda answer: answer[0])


# Reproductions


def reproduce(case):
    layer, state = case["layer"], case["state"]
    dtype = state["running_mean"]["dtype"]
    lines = [
        "def run(x, training):",
        '    after = ["mean_after", "var_after"] if training else []',
        "    node = helper.make_node(",
        '        "BatchNormalization", ["x", *vectors], ["y", *after], training_mode=training,',
        "        # momentum is PyTorch's subtracted from 1: here it weighs the old value",
        f"        epsilon={kit.number(layer['eps'])}, momentum={1 - kit.number(layer['momentum'])},",
        "    )",
        f"    data, parameter = types[x.dtype.name], types[{DTYPES[dtype].__name__!r}]",
        "    value = lambda name, dtype, rank: helper.make_tensor_value_info(name, dtype, [None] * rank)",
        '    inputs = [value("x", data, x.ndim), *(value(name, parameter, 1) for name in vectors)]',
        '    outputs = [value("y", data, x.ndim), *(value(name, parameter, 1) for name in after)]',
        '    graph = helper.make_graph([node], "batch_norm", inputs, outputs)',
        '    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=10)',
        "    session = onnxruntime.InferenceSession(model.SerializeToString())",
        '    y, *statistics = session.run(None, {"x": x, **vectors})',
        '    vectors.update(zip(["mean", "var"], statistics))',
        "    return y",
        "",
        'types = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}',
        "vectors = {",
        *[f'    "{VECTORS[name]}": {numpy_literal(state[name])},' for name in VECTORS],
        "}",
    ]
    imports = ["import numpy as np", "import onnxruntime", "from onnx import TensorProto, helper", ""]
    imports += ["np.set_printoptions(precision=10, threshold=100000)"]
    return kit.script(case, imports, lines, lambda step, _: (step_lines(step), []))


def step_lines(step):
    x, training = numpy_literal(step["input"]), int(step["mode"] == "train")
    return [f"x = {x}", f'print("y", run(x, training={training}))', 'print(vectors["mean"], vectors["var"])']


def numpy_literal(tensor):
    shape = f".reshape({tensor['shape']})" if 0 in tensor["shape"] else ""
    return f"np.array({kit.literal(tensor)}, np.{DTYPES[tensor['dtype']].__name__}){shape}"


kit.serve("onnxruntime", onnxruntime.__version__, CLAIMS, Layer, reproduce, time)
