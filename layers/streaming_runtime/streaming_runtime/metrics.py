"""CloudWatch metrics, as log lines in the embedded metric format."""

import json
import os
import time

from .logs import LOG_LEVEL, write_line


def count(metric: str, request_id: str) -> None:
    """Adds one to a metric.

    Lambda's filter counts a line without a level, or without a timestamp of RFC 3339, as INFO. So the line has both,
    and its level is never below the filter.
    """
    now = time.time()
    directive = {
        "Namespace": "StreamingRuntime",
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": metric, "Unit": "Count"}],
    }
    line = {
        "_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]},
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "level": LOG_LEVEL,
        "FunctionName": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        metric: 1,
        "requestId": request_id,
    }
    write_line(json.dumps(line))
