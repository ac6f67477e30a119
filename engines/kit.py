"""What the Python engines share: the protocol's loop, the suite's arrays, and the player of scripts.

An engine is a program, `engines/NAME/engine.py`, that plugs a framework's batch norm into the suite. It imports
this module before its framework, derives from `Layer`, and calls `serve`. Numbers travel as numpy arrays of
float64: every value of a narrower dtype is a float64 too, so nothing is rounded on the way.

What an engine may do:

* It *translates* conventions: a momentum that weighs the old value is 1 - momentum, an axis of channels that is
  the last by default is named. It configures the layer as the framework's users would, and leaves every other
  option as it comes.
* It *hides* nothing. What the framework keeps as its running variance is answered; NaN is answered as NaN; it
  checks no input that the framework does not check; a wrong gradient is claimed, so that it is found.

What counts as a refusal: the framework said no. An exception of the classes that it raises to reject what it was
given (see `Rejections`), out of a call to its public interface, is a refusal with the framework's own message. Any
other exception (ZeroDivisionError, AssertionError, AttributeError, ...) is an accident inside the framework and is
answered as an error, and so is one that Python words itself, such as "tuple index out of range". Only the call is
watched, so that a slip of the engine's cannot pass for a refusal.
"""

import json
import math
import os
import re
import sys
import textwrap
import time
import traceback

import numpy as np

PROTOCOL = 1
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# How Python words a TypeError or an IndexError of its own.
ACCIDENTS = ("index out of range", "unsupported operand type", "bad operand type", "'NoneType'", "must be real number")
STATISTICS = ("running_mean", "running_var")


def take_standard_output():
    """The program's standard output, for answers only: whatever else writes there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


# Taken when this module is imported, so that a framework that greets while it is imported spoils nothing.
ANSWERS = take_standard_output()


class Unsupported(Exception):
    """What the engine does not do, although it was asked."""


class Refused(Exception):
    """What the framework declines: one of the suite's kinds, and the framework's message."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Rejections:
    """Put around a call to the framework: `with REJECTIONS: y = layer(x)`.

    `classes` are the exceptions by which the framework rejects what it is given. `kinds` are pairs of a part of a
    message and the kind of refusal that it tells; other messages stay "unsorted".
    """

    def __init__(self, classes, kinds=()):
        self.classes, self.kinds = classes, kinds

    def __enter__(self):
        return self

    def __exit__(self, class_, exception, _):
        message = next(iter(str(exception).strip().splitlines()), "")
        if class_ and issubclass(class_, self.classes) and not any(part in message for part in ACCIDENTS):
            kind = next((kind for part, kind in self.kinds if part in message), "unsorted")
            raise Refused(kind, message) from exception


# Arrays


def number(value):
    """A number of the protocol, which has strings for what JSON cannot write."""
    return WORDS[value] if isinstance(value, str) else value


def values(tensor):
    """The elements of an array of the suite, in float64 and in its shape."""
    return np.array([number(value) for value in tensor["data"]], dtype=np.float64).reshape(tensor["shape"])


def memory(tensor):
    """An array as it lies in memory: a flat buffer, strides in elements, and the place of the first element.

    The places that no element has hold NaN, which shows in the answer if anything reads them.
    """
    numbers, layout = values(tensor), tensor.get("layout", "contiguous")
    if layout == "contiguous":
        layout = in_order(numbers.shape, range(numbers.ndim))
    elif layout == "channels_last":
        layout = in_order(numbers.shape, [0, *range(2, numbers.ndim), 1])
    else:
        layout = layout["strided"]
    strides, offset = layout["strides"], layout["offset"]
    size = offset + 1 + sum(max(extent - 1, 0) * stride for extent, stride in zip(numbers.shape, strides))
    buffer = np.full(size, np.nan if tensor["dtype"] not in ("i64", "bool") else 0.0)
    places = np.full(numbers.shape, offset)
    for axis, (extent, stride) in enumerate(zip(numbers.shape, strides)):
        steps = np.arange(extent) * stride
        places += steps.reshape([-1] + [1] * (numbers.ndim - axis - 1))
    buffer[places] = numbers
    return buffer, strides, offset


def in_order(shape, axes):
    """The layout without gaps whose axes lie in this order, the outermost first."""
    strides, next_stride = [0] * len(shape), 1
    for axis in reversed(list(axes)):
        strides[axis] = next_stride
        next_stride *= max(shape[axis], 1)
    return {"strides": strides, "offset": 0}


def array(dtype, numbers, layout="contiguous"):
    """An array of the suite with these elements, all of them values of `dtype`."""
    numbers = np.asarray(numbers, dtype=np.float64)
    answer = {"dtype": dtype, "shape": list(numbers.shape), "data": words(numbers)}
    return answer if layout == "contiguous" else {**answer, "layout": layout}


def words(numbers):
    """Numbers of the protocol, in row-major order."""
    names = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return ["NaN" if number != number else names.get(number, number) for number in numbers.ravel().tolist()]


# Scripts


class Layer:
    """A framework's layer, in the state that a case gives it. Engines derive from it.

    `forward` plays one pass and gives its output and, where gradients are asked for, a function without arguments
    that runs the backward pass and gives the gradients by name. The rest is for engines that claim it.
    """

    #: Training batches seen, for a layer that counts them.
    counter = None

    def forward(self, step):
        raise NotImplementedError

    def buffers(self):
        """`running_mean` and `running_var` as they are now, as arrays; not those that the layer has not."""
        raise NotImplementedError

    def reset(self, what):
        raise Unsupported("resets")

    def fold(self, step):
        raise Unsupported("folding")


def wanted(step, state):
    """Which of input, weight and bias a pass is asked for gradients of."""
    if not step.get("grad_output"):
        return []
    mask = step.get("output_mask") or {"input": True, "weight": True, "bias": True}
    return [name for name in ("input", "weight", "bias") if mask[name] and (name == "input" or state[name])]


def play(case, make):
    """Plays the case's script on the layer that `make` gives: one outcome per step.

    A refused step answers the buffers as it left them, and the next one is played. A layer that is refused when it
    is made refuses every step.
    """
    try:
        layer = make(case)
    except Refused as refusal:
        layer = Unmade(case, refusal)
    outcomes, waiting = [], []
    for step in case["steps"]:
        outcome = {"fields": {}}
        backward = answer(outcome, lambda: play_step(layer, step, outcome))
        if backward and step.get("backward_at_end"):
            waiting.append((outcome, backward))
        elif backward:
            answer(outcome, lambda: outcome["fields"].update(backward()))
        outcome["fields"].update(layer.buffers())
        if layer.counter is not None:
            outcome["num_batches_tracked"] = layer.counter
        outcomes.append(outcome)
    for outcome, backward in waiting:
        answer(outcome, lambda: outcome["fields"].update(backward()))
    return outcomes


def play_step(layer, step, outcome):
    """Plays a step; gives the backward pass that belongs to it, if it has one."""
    if step["op"] == "batch_norm":
        outcome["fields"]["output"], backward = layer.forward(step)
        return backward
    if step["op"] == "reset":
        outcome["fields"].update(layer.reset(step["what"]))
    elif step["op"] == "fold":
        outcome["fields"].update(layer.fold(step))
    else:
        raise Unsupported(f"steps of the kind {step['op']}")


def answer(outcome, act):
    """Acts, or notes in the outcome why the framework refused; what was answered before goes but for the buffers."""
    try:
        return act()
    except Refused as refusal:
        fields = outcome["fields"].items()
        outcome["fields"] = {name: field for name, field in fields if name in STATISTICS}
        outcome["refused"] = {"kind": refusal.kind, "message": str(refusal)}


class Unmade(Layer):
    """A layer that the framework refused to make."""

    def __init__(self, case, refusal):
        self.state, self.refusal = case["state"], refusal
        self.counter = case["state"]["num_batches_tracked"]

    def refuse(self, _):
        raise self.refusal

    forward = reset = fold = refuse

    def buffers(self):
        return {name: self.state[name] for name in STATISTICS if self.state[name]}


# Timing


def elements(shape, stream):
    """The array `stream` of a timing; see `element` in crates/bn-protocol/src/timing.rs."""
    index = np.arange(math.prod(shape), dtype=np.int64)
    return ((index * 40503 + stream * 30011) % 65536 / 32768 - 1).reshape(shape)


def clock(timing, call, flat, prepare=lambda: ()):
    """Times `call`, which must not return before its answer is computed.

    `prepare` gives its arguments, off the clock. `flat` turns the last answer into a flat array of numpy. Freeing
    what the call before allocated is part of a call.
    """
    seconds, result = [], None
    for _ in range(timing["calls"] + 1):
        arguments = prepare()
        start = time.perf_counter()
        result = None
        result = call(*arguments)
        seconds.append(time.perf_counter() - start)
    probes = np.asarray(flat(result), dtype=np.float64).ravel()[timing["probes"]]
    return {"seconds": seconds[1:], "probes": words(probes)}


# Reproductions


def literal(tensor):
    """The elements in Python, as nested lists of the shortest numbers that are exact in the array's dtype."""
    return python_list(values(tensor), np.float32 if tensor["dtype"] == "f32" else np.float64)


def python_list(numbers, dtype):
    if numbers.ndim:
        return "[" + ", ".join(python_list(part, dtype) for part in numbers) + "]"
    value = float(numbers)
    short = str(dtype(value))
    return short if math.isnan(value) or float(dtype(float(short))) == value else repr(value)


def script(case, imports, layer, step_lines):
    """A program for the framework's maintainers that plays the case.

    `layer` are the lines that make the layer `bn`. `step_lines(step, mark)` gives the lines of a step, and those of
    its backward pass; `mark` ends the names of what the backward pass needs, if it has to wait for other steps.
    """
    steps, blocks, late = case["steps"], [], []
    for index, step in enumerate(steps):
        waits = step.get("backward_at_end", False)
        now, backward = step_lines(step, f"_{index}" if waits else "")
        blocks.append((f"step {index}", now if waits else now + backward))
        if waits and backward:
            late.append((f"backward of step {index}", backward))
    blocks += late
    body = list(layer)
    for title, lines in blocks[:-1]:
        # What a step is refused for is printed, and the next one is played.
        guarded = ["    " + line for line in lines]
        refused = ["except Exception as refusal:", '    print("refused:", refusal)']
        body += ["", f'print("{title}")', "try:", *guarded, *refused]
    title, lines = blocks[-1]
    body += ["", *([f'print("{title}")'] if len(blocks) > 1 else []), *lines]
    special = [name for name in ("inf", "nan") if re.search(rf"\b{name}\b", "\n".join(body))]
    comment = textwrap.wrap(f"{case['name']}: {case['note']}", 110, initial_indent="# ", subsequent_indent="# ")
    head = [*comment, *([f"from math import {', '.join(special)}"] if special else []), *imports]
    return "\n".join([*head, "", *body, ""])


# The protocol


def serve(name, version, claims, layer, reproduce=None, time=None, kernels=None):
    """Answers requests until `bye` or the end of the input. `layer` makes a `Layer` of a case."""
    offered = {"reproduce": reproduce, "time": time}
    about = {"name": name, "version": version, "claims": claims}
    about["offers"] = [offer for offer, function in offered.items() if function]
    if kernels:
        about["kernels"] = kernels
    asked = {
        "hello": lambda hello: hello_answer(hello, about),
        "run": lambda case: {"outcomes": play(case, layer)},
        "reproduce": lambda case: {"reproduction": {"language": "python", "code": reproduce(case)}},
        "time": lambda timing: {"timed": time(timing)},
    }
    for line in sys.stdin:
        request = json.loads(line)
        if request == "bye":
            break
        [(what, body)] = request.items()
        json.dump(caught(asked[what], body), ANSWERS, allow_nan=False)
        ANSWERS.write("\n")
        ANSWERS.flush()


def hello_answer(hello, about):
    if hello["protocol"] != PROTOCOL:
        return {"error": f"protocol {hello['protocol']} asked, this engine speaks {PROTOCOL}"}
    return {"hello": about}


def caught(act, body):
    """The answer, or what kept the engine from one."""
    try:
        return act(body)
    except Unsupported as unsupported:
        return {"unsupported": str(unsupported)}
    except Exception as problem:
        traceback.print_exc()
        return {"error": f"{type(problem).__name__}: {problem}"}
