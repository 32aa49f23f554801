"""A function under plain awslambdaric that does what its event asks for."""

import json
import os
import pathlib
import time
from typing import Any

calls = 0

slow = os.environ.get("SLOW_INIT")  # a file: the first init takes long, the second one does not
if slow and not pathlib.Path(slow).exists():
    pathlib.Path(slow).touch()
    time.sleep(60)


def handler(event: dict[str, Any], context: Any) -> Any:
    global calls
    calls += 1
    order = event.get("queryStringParameters") or event
    if "touch" in order:
        with pathlib.Path(order["touch"]).open("a") as file:
            file.write("x")
    if "sleep" in order:
        time.sleep(float(order["sleep"]))
    if "touchAfter" in order:
        pathlib.Path(order["touchAfter"]).touch()
    if "burn" in order:
        begun = time.process_time()
        while time.process_time() - begun < float(order["burn"]):
            pass
    if "allocate" in order:
        held = b"x" * int(order["allocate"])
        time.sleep(float(order["hold"]))
        del held
    if "exit" in order:
        os._exit(int(order["exit"]))
    if "fail" in order:
        raise ValueError(order["fail"])
    if "size" in order:
        return "x" * int(order["size"])
    answer = {
        "event": event,
        "pid": os.getpid(),
        "calls": calls,
        "environment": dict(os.environ),
        "arn": context.invoked_function_arn,
        "remaining": context.get_remaining_time_in_millis(),
    }
    if "requestContext" not in event:
        return answer
    headers = {"access-control-allow-origin": "http://mine", "x-own": "yes"}
    return {"statusCode": 200, "headers": headers, "cookies": ["a=1", "b=2"], "body": json.dumps(answer)}
