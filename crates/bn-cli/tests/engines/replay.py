"""An engine that answers what the fixtures expect, spoiled on request.

python3 replay.py FIXTURES [biased | wrong-kind | crash | nothing]
"""
import json
import pathlib
import sys

folder, spoil = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "none"
expected = {
    golden["case"]["name"]: golden["expected"]
    for file in folder.glob("*.json")
    for golden in json.loads(file.read_text()).get("cases", [])
}
claims = [] if spoil == "nothing" else ["f32", "train", "counter", "rank_1d"]


def outcome(right):
    answer = {"fields": {name: field["value"] for name, field in right["fields"].items()}}
    if "num_batches_tracked" in right:
        answer["num_batches_tracked"] = right["num_batches_tracked"]
    if "refused" in right:
        answer["refused"] = {"kind": right["refused"], "message": "as expected"}
    if spoil == "wrong-kind":
        answer["refused"] = {"kind": "eps", "message": "eps looks odd"}
    if spoil == "biased" and "running_var" in answer["fields"]:
        # Stands for the biased variance: 0.9 of the old value and 0.1 of 2/3.
        answer["fields"]["running_var"]["data"] = [0.966796875] * len(answer["fields"]["running_var"]["data"])
    return answer


for line in sys.stdin:
    request = json.loads(line)
    if request == "bye":
        break
    if "hello" in request:
        answer = {"hello": {"name": "replay", "version": "1", "claims": claims}}
    elif spoil == "crash":
        sys.exit("replay.py: asked to crash")
    else:
        answer = {"outcomes": [outcome(right) for right in expected[request["run"]["name"]]]}
    print(json.dumps(answer), flush=True)
