"""The control endpoints under /_local/: they inject faults and report the state of the stack. See docs/local.md."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_stack.bedrock import BedrockServer
from local_stack.dynamodb.server import DynamoDB
from local_stack.http import Request, Responder
from local_stack.identity.issuer import Issuer
from local_stack.lambda_service.invoke_api import InvokeApi
from local_stack.lambda_service.pool import Pool

PREFIX = "/_local/"
ISSUER = "issuer/"


@dataclass(frozen=True)
class Control:
    """Serves the control endpoints. Bodies are JSON.

    `POST faults`, `kill` and `token`; `GET requests`, `calls`, `environments`, `dead-letters` and `issuer/...`.
    `bedrock` and `table` are None if the user's own service is used instead of the emulator. `issuer` is None unless
    the authentication mode is jwt.
    """

    pools: Mapping[str, Pool]
    invoke_api: InvokeApi
    bedrock: BedrockServer | None
    table: DynamoDB | None
    issuer: Issuer | None

    async def __call__(self, request: Request, responder: Responder) -> None:
        try:
            status, response = self._respond(request.method, request.path.removeprefix(PREFIX), await request.read())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            status, response = 400, {"message": f"bad request: {error!r}"}
        await responder.send(status, [("content-type", "application/json")], json.dumps(response).encode())

    def _respond(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        """Return the status and the JSON of the response."""
        match method, name:
            case "POST", "faults":
                self._set_faults(json.loads(body))
                return 200, {}
            case "POST", "kill":
                killed = self.pools[json.loads(body)["function"]].kill_busy()
                return (200, {"pid": killed}) if killed else (409, {"message": "no environment is busy"})
            case "POST", "token" if self.issuer:
                fields = json.loads(body)
                return 200, {"token": self.issuer.token(fields["user"], fields.get("claims", {}))}
            case "GET", _ if self.issuer and name.startswith(ISSUER):
                document = None if self.issuer.down else self.issuer.document(name.removeprefix(ISSUER))
                return (200, document) if document else (503, {})
            case "GET", "requests":
                return 200, [call.as_json() for call in self.bedrock.requests] if self.bedrock else []
            case "GET", "calls":
                services = [service for service in (self.table, self.bedrock, self.invoke_api) if service]
                calls = (call for service in services for call in service.calls)
                # With --bedrock the session token is a real one and must not be shown.
                return 200, [call._asdict() for call in calls if call.function in self.pools]
            case "GET", "environments":
                return 200, [
                    {
                        "function": name,
                        "pid": environment.pid,
                        "state": environment.state.value,
                        "invocations": environment.invocations,
                    }
                    for name, pool in self.pools.items()
                    for environment in pool.environments
                ]
            case "GET", "dead-letters":
                return 200, [dataclasses.asdict(letter) for letter in self.invoke_api.dead_letters]
        return 404, {"message": f"there is no {method} {PREFIX}{name}"}

    def _set_faults(self, faults: dict[str, Any]) -> None:
        if unknown := faults.keys() - {"table", "model", "issuer", "events", "freezeAfterResponse"}:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        if self.table and "table" in faults:
            table = faults["table"]
            counts = {name: int(table.get(name, 0)) for name in ("throttle", "conflict", "unprocessed")}
            self.table.set_faults(float(table.get("delayMs", 0)), float(table.get("failForMs", 0)), **counts)
        if self.bedrock and "model" in faults:
            model = faults["model"]
            self.bedrock.set_faults(float(model.get("rate", 0.0)), int(model.get("seed", 0)))
        if self.issuer and "issuer" in faults:
            self.issuer.down = bool(faults["issuer"].get("down", False))
            if faults["issuer"].get("rotate"):
                self.issuer.rotate()
        if "events" in faults:
            self.invoke_api.delivers_twice = bool(faults["events"].get("twice", False))
        if "freezeAfterResponse" in faults:
            for pool in self.pools.values():
                pool.set_freezing(on=bool(faults["freezeAfterResponse"]))
