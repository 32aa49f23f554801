"""What every test runs under: the variables that the template gives both functions."""

import os

os.environ.update(
    POWERTOOLS_SERVICE_NAME="tests",
    POWERTOOLS_METRICS_NAMESPACE="ConverseStream",
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
)
os.environ.pop("AWS_BEARER_TOKEN_BEDROCK", None)  # it would win over the keys, and refuses http endpoints
