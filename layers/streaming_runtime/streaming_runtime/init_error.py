"""Reports to Lambda that the runtime cannot start, without awslambdaric."""

import json
import os
import sys


def report_init_error(error_type: str, message: str) -> None:
    """Posts the error to the Runtime API and writes it to the log."""
    from http.client import HTTPConnection  # only needed here

    sys.stderr.write(f"[ERROR] {error_type}: {message}\n")
    connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    body = json.dumps({"errorType": error_type, "errorMessage": message, "stackTrace": []})
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": error_type}
    connection.request("POST", "/2018-06-01/runtime/init/error", body, headers)
    connection.getresponse().read()
    connection.close()
