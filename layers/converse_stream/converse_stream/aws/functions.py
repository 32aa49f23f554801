"""A client for asynchronous invocations of Lambda functions."""

from io import BytesIO
from typing import Any
from urllib.parse import quote

from converse_stream.aws.service import Service, client_error


class Functions:
    """See `Invoker` of `converse_stream.dispatch.learning`."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self.service.close()

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Any:
        """https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""
        path = f"/2015-03-31/functions/{quote(FunctionName, safe='')}/invocations"
        response = self.service.post(path, {"x-amz-invocation-type": InvocationType}, Payload)
        if response.status >= 300:
            raise client_error("Invoke", response)
        return {"StatusCode": response.status, "Payload": BytesIO(response.data)}
