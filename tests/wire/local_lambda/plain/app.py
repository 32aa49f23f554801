"""A function with plain awslambdaric. Its event or query says what it does."""

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
    command = event.get("queryStringParameters") or event
    if "touch" in command:
        with pathlib.Path(command["touch"]).open("a") as file:
            file.write("x")
    if "sleep" in command:
        time.sleep(float(command["sleep"]))
    if "touchAfter" in command:
        pathlib.Path(command["touchAfter"]).touch()
    if "burn" in command:
        started_at = time.process_time()
        while time.process_time() - started_at < float(command["burn"]):
            pass
    if "allocate" in command:
        memory = b"x" * int(command["allocate"])
        time.sleep(float(command["hold"]))
        del memory
    if "exit" in command:
        os._exit(int(command["exit"]))
    if "fail" in command:
        raise ValueError(command["fail"])
    if "size" in command:
        return "x" * int(command["size"])
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
