"""template.yaml as typed values: what the local stack starts, and nothing else of it.

Resources are resolved only when something here needs them, so policies, alarms and outputs may use whatever
CloudFormation knows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.entry_points.distribution import Distribution, distribution
from local_stack.intrinsics import PSEUDO_PARAMETERS, Resolver, TemplateError, load

REGION = PSEUDO_PARAMETERS["AWS::Region"]
ACCOUNT = PSEUDO_PARAMETERS["AWS::AccountId"]
FUNCTION_IN_URI = re.compile(r":function:([A-Za-z0-9_-]+)")
ORIGINS_IN_MAPPING = re.compile(r'#set\(\$origins = "([^"]*)"\)')
DEFAULT_RETRIES = 2  # of an asynchronous invocation that failed
ENVIRONMENT_BYTES = 4096  # of names and values as JSON, which is what Lambda measures
DEFAULT_EVENT_AGE = 6 * 3600  # seconds that one may wait


@dataclass(frozen=True)
class Cors:
    """Which browsers may call: origins, methods and header names as configured, `*` for any. `max_age` in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: int | None
    credentials: bool


@dataclass(frozen=True)
class Layer:
    """A folder that becomes part of /opt: as built by SAM, or as our sources (see sandbox.py)."""

    name: str
    folder: Path
    built: bool


@dataclass(frozen=True)
class Function:
    """A function; `timeout` and `event_age` in seconds, `memory` in MB, `cors` of its URL.

    `signed_url`: the URL asks for IAM signatures.
    `dead_letters` is the name of a queue.
    """

    name: str
    code: Path
    handler: str
    runtime: str
    timeout: int
    memory: int
    environment: Mapping[str, str]
    layers: tuple[Layer, ...]
    reserved_concurrency: int | None
    has_url: bool
    signed_url: bool
    cors: Cors | None
    retries: int
    event_age: int
    dead_letters: str | None

    @property
    def arn(self) -> str:
        return function_arn(self.name)


@dataclass(frozen=True)
class Throttle:
    """`rate` requests a second on average, `burst` of them at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Route:
    """`method` may be ANY; `path` as in a route key, with `{name}` and `{name+}`.

    `$default` is a method without a path.
    `signed`: it asks for IAM signatures.
    """

    method: str
    path: str
    function: str
    signed: bool = False

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}".rstrip()


@dataclass(frozen=True)
class HttpApi:
    """An HTTP API: every answer in one piece, payload format 2.0.

    `throttle` is for all routes together, but for those whose keys are in `route_throttles`.
    """

    stage: str
    routes: tuple[Route, ...]
    cors: Cors | None
    throttle: Throttle | None
    route_throttles: Mapping[str, Throttle]


@dataclass(frozen=True)
class RestApi:
    """A REST API whose routes stream, payload format 1.0.

    `cors` is what its OPTIONS mock answers, `refusals` are headers of the answers that the gateway makes itself.
    """

    stage: str
    routes: tuple[Route, ...]
    cors: Cors | None
    refusals: tuple[tuple[str, str], ...]
    throttle: Throttle | None


@dataclass(frozen=True)
class Template:
    """What template.yaml describes. `tables` are properties of AWS::DynamoDB::Table with every name filled in.

    `listed_buckets` are those whose policy lets CloudFront list them.
    """

    functions: Mapping[str, Function]
    tables: tuple[Mapping[str, Any], ...]
    http_api: HttpApi | None
    rest_api: RestApi | None
    distribution: Distribution | None
    listed_buckets: frozenset[str]


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def read(path: Path, parameters: Mapping[str, str] | None = None) -> Template:
    """The template at `path` with `parameters` in place of its defaults. Raises TemplateError.

    Folders are relative to the template, as SAM reads them; a template that SAM has built names built folders.
    """
    return _Reader(path, parameters or {}).template()


class _Reader:
    def __init__(self, path: Path, parameters: Mapping[str, str]) -> None:
        document = load(path)
        self._base = path.resolve().parent
        self._resources: dict[str, Any] = document["Resources"]
        self._globals: dict[str, Any] = document.get("Globals", {}).get("Function", {})
        self._resolver = Resolver(document, parameters, self._reference, self._attribute)

    def template(self) -> Template:
        return Template(
            functions={name: self._function(name) for name in self._of_type("AWS::Serverless::Function")},
            tables=tuple(self._table(name) for name in self._of_type("AWS::DynamoDB::Table")),
            http_api=self._http_api(),
            rest_api=self._rest_api(),
            distribution=self._distribution(),
            listed_buckets=frozenset(self._listed_buckets()),
        )

    # What the template holds

    def _of_type(self, kind: str) -> list[str]:
        """Logical ids of the resources of that type whose condition holds."""
        return [
            name
            for name, resource in self._resources.items()
            if resource["Type"] == kind
            and ("Condition" not in resource or self._resolver.condition(resource["Condition"]))
        ]

    def _properties(self, name: str, *wanted: str) -> dict[str, Any]:
        """The wanted properties of a resource, resolved; all of them when none is named."""
        properties = self._resources[name].get("Properties", {})
        chosen = {key: value for key, value in properties.items() if not wanted or key in wanted}
        resolved: dict[str, Any] = self._resolver.resolve(chosen, name)
        return resolved

    def _reference(self, name: str) -> str | None:
        resource = self._resources.get(name)
        match resource and resource["Type"]:
            case None:
                return None
            case "AWS::DynamoDB::Table":
                return str(self._properties(name, "TableName").get("TableName", name))
            case "AWS::SQS::Queue":
                return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
            case _:
                return name

    def _attribute(self, name: str, attribute: str) -> str | None:
        resource = self._resources.get(name)
        match resource and resource["Type"], attribute:
            case "AWS::Serverless::Function", "Arn":
                return function_arn(name)
            case "AWS::DynamoDB::Table", "Arn":
                return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self._reference(name)}"
            case "AWS::SQS::Queue", "Arn":
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
            case "AWS::SQS::Queue", "QueueName":
                return name
            case None, "FunctionUrl":  # of a resource that SAM makes
                return f"https://{name.lower()}.lambda-url.{REGION}.on.aws/"
            case "AWS::S3::Bucket", "RegionalDomainName":
                return f"{name.lower()}.s3.{REGION}.amazonaws.com"
            case "AWS::S3::Bucket", "Arn":
                return f"arn:aws:s3:::{name.lower()}"
            case "AWS::CloudFront::Function", "FunctionARN":
                return f"arn:aws:cloudfront::{ACCOUNT}:function/{name}"
        return None

    # Functions

    def _function(self, name: str) -> Function:
        own = self._resources[name].get("Properties", {})
        wanted = (
            "CodeUri", "Handler", "Runtime", "Timeout", "MemorySize", "Environment", "Layers", "FunctionUrlConfig",
            "ReservedConcurrentExecutions", "EventInvokeConfig", "DeadLetterQueue",
        )  # fmt: skip
        merged = _merge(self._globals, own)
        properties = self._resolver.resolve({key: merged[key] for key in wanted if key in merged}, name)
        try:
            url = properties.get("FunctionUrlConfig")
            retry = properties.get("EventInvokeConfig", {})
            reserved = properties.get("ReservedConcurrentExecutions")
            return Function(
                name=name,
                code=self._base / properties["CodeUri"],
                handler=properties["Handler"],
                runtime=properties["Runtime"],
                timeout=int(properties.get("Timeout", 3)),
                memory=int(properties.get("MemorySize", 128)),
                environment=_environment(properties.get("Environment", {}).get("Variables", {}), name),
                layers=tuple(self._layer(layer, name) for layer in properties.get("Layers", [])),
                reserved_concurrency=None if reserved in {None, ""} else int(reserved),
                has_url=url is not None,
                signed_url=url is not None and url.get("AuthType") == "AWS_IAM",
                cors=_cors(url.get("Cors")) if url else None,
                retries=int(retry.get("MaximumRetryAttempts", DEFAULT_RETRIES)),
                event_age=int(retry.get("MaximumEventAgeInSeconds", DEFAULT_EVENT_AGE)),
                dead_letters=_queue(properties, retry),
            )
        except KeyError as error:
            raise TemplateError(f"{name}: no {error.args[0]}") from error

    def _layer(self, name: str, function: str) -> Layer:
        if self._resources.get(name, {}).get("Type") != "AWS::Serverless::LayerVersion":
            raise TemplateError(f"{function}: layer {name} is not in the template, so its code is not here")
        folder = self._base / self._properties(name, "ContentUri")["ContentUri"]
        return Layer(name, folder, built="SamResourceId" in self._resources[name].get("Metadata", {}))

    def _table(self, name: str) -> Mapping[str, Any]:
        return {**self._properties(name), "TableName": self._reference(name)}

    # APIs

    def _http_api(self) -> HttpApi | None:
        apis = self._of_type("AWS::ApiGatewayV2::Api")
        if not apis:
            return None
        [api] = apis
        routes = []
        for name in self._of_type("AWS::ApiGatewayV2::Route"):
            route = self._properties(name, "ApiId", "RouteKey", "Target", "AuthorizationType")
            integration = self._properties(route["Target"].removeprefix("integrations/"), "IntegrationUri")
            method, _, path = route["RouteKey"].partition(" ")
            function, signed = _function_in(integration["IntegrationUri"], name), route.get("AuthorizationType")
            routes.append(Route(method, path, function, signed == "AWS_IAM"))
        stages = [self._properties(name) for name in self._of_type("AWS::ApiGatewayV2::Stage")]
        stage = stages[0] if stages else {}
        cors = self._properties(api, "CorsConfiguration").get("CorsConfiguration")
        own = {key: throttle for key, each in stage.get("RouteSettings", {}).items() if (throttle := _throttle(each))}
        default = _throttle(stage.get("DefaultRouteSettings", {}))
        return HttpApi(stage.get("StageName", "$default"), tuple(routes), _cors(cors), default, own)

    def _rest_api(self) -> RestApi | None:
        apis = self._of_type("AWS::Serverless::Api")
        if not apis:
            return None
        [api] = apis
        properties = self._properties(api, "StageName", "DefinitionBody", "MethodSettings")
        routes, cors = [], None
        gateway_responses = properties["DefinitionBody"].get("x-amazon-apigateway-gateway-responses", {})
        refusals = _refusals(gateway_responses.get("DEFAULT_4XX", {}))
        for path, operations in properties["DefinitionBody"]["paths"].items():
            for name, operation in operations.items():
                integration = operation["x-amazon-apigateway-integration"]
                if integration["type"] == "mock":
                    cors = _preflight(integration["responses"]["default"])
                    continue
                if integration.get("responseTransferMode") != "STREAM":
                    raise TemplateError(f"{api}: {name} {path} does not stream: the local stack has no other REST mode")
                method = "ANY" if name == "x-amazon-apigateway-any-method" else name.upper()
                signed = operation.get("x-amazon-apigateway-auth", {}).get("type") == "AWS_IAM"
                routes.append(Route(method, path, _function_in(integration["uri"], api), signed))
        settings = properties.get("MethodSettings", [])
        if any((each["ResourcePath"], each["HttpMethod"]) != ("/*", "*") for each in settings):
            raise TemplateError(f"{api}: the local stack supports MethodSettings for all methods only")
        throttle = _throttle(settings[0]) if settings else None
        return RestApi(properties["StageName"], tuple(routes), cors, refusals, throttle)

    def _distribution(self) -> Distribution | None:
        distributions = self._of_type("AWS::CloudFront::Distribution")
        if not distributions:
            return None
        [name] = distributions
        policies = {
            policy: self._properties(policy)["ResponseHeadersPolicyConfig"]
            for policy in self._of_type("AWS::CloudFront::ResponseHeadersPolicy")
        }
        return distribution(self._properties(name)["DistributionConfig"], policies)

    def _listed_buckets(self) -> Iterator[str]:
        for name in self._of_type("AWS::S3::BucketPolicy"):
            policy = self._properties(name)
            for statement in policy["PolicyDocument"]["Statement"]:
                of_cloudfront = statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
                if of_cloudfront and (statement["Effect"], statement["Action"]) == ("Allow", "s3:ListBucket"):
                    yield policy["Bucket"]


def _merge(general: Any, own: Any) -> Any:
    """SAM's Globals: maps are merged, lists are joined, anything else is the function's own."""
    if isinstance(general, dict) and isinstance(own, dict):
        return {**general, **{key: _merge(general[key], own[key]) if key in general else own[key] for key in own}}
    if isinstance(general, list) and isinstance(own, list):
        return [*general, *own]
    return own


def _environment(variables: Mapping[str, Any], function: str) -> dict[str, str]:
    """The variables as strings. Raises TemplateError where they are too large to be deployed.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. Lambda's own message ends with
    the whole JSON (github-aws-runners/terraform-aws-github-runner issue 3594). This one does not: it may have secrets.
    """
    named = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in variables.items()}
    size = len(json.dumps(named, separators=(",", ":"), ensure_ascii=False).encode())
    if size > ENVIRONMENT_BYTES:
        raise TemplateError(
            f"{function}: Lambda was unable to configure your environment variables because the environment variables "
            f"you have provided exceeded the 4KB limit. String measured: {size:,} bytes of names and values as JSON, "
            f"at most {ENVIRONMENT_BYTES:,}"
        )
    return named


def _cors(config: Mapping[str, Any] | None) -> Cors | None:
    """The Cors of a Function URL or the CorsConfiguration of an HTTP API: they have the same keys."""
    if config is None:
        return None
    max_age = config.get("MaxAge")
    return Cors(
        origins=tuple(config.get("AllowOrigins", [])),
        methods=tuple(config.get("AllowMethods", [])),
        headers=tuple(name.lower() for name in config.get("AllowHeaders", [])),
        exposed=tuple(config.get("ExposeHeaders", [])),
        max_age=None if max_age is None else int(max_age),
        credentials=bool(config.get("AllowCredentials", False)),
    )


def _throttle(settings: Mapping[str, Any]) -> Throttle | None:
    """The throttle in a stage's settings."""
    if "ThrottlingRateLimit" not in settings:
        return None
    return Throttle(float(settings["ThrottlingRateLimit"]), int(settings["ThrottlingBurstLimit"]))


def _preflight(response: Mapping[str, Any]) -> Cors:
    """The CORS that an OPTIONS mock answers: fixed headers, and the origins that its mapping template lists."""
    prefix = "method.response.header.access-control-"
    fixed = {key.removeprefix(prefix): value.strip("'") for key, value in response["responseParameters"].items()}
    origins = ORIGINS_IN_MAPPING.search(response["responseTemplates"]["application/json"])
    return Cors(
        origins=tuple(origins[1].split(",")) if origins else (),
        methods=tuple(fixed["allow-methods"].split(",")),
        headers=tuple(fixed["allow-headers"].split(",")),
        exposed=(),
        max_age=int(fixed["max-age"]) if "max-age" in fixed else None,
        credentials=False,
    )


def _refusals(response: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The fixed headers of a gateway response."""
    prefix = "gatewayresponse.header."
    return tuple(
        (key.removeprefix(prefix), value.strip("'")) for key, value in response.get("responseParameters", {}).items()
    )


def _queue(properties: Mapping[str, Any], retry: Mapping[str, Any]) -> str | None:
    """The queue for events that were given up: the on-failure destination or the dead-letter queue."""
    on_failure = retry.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    arn = on_failure or properties.get("DeadLetterQueue", {}).get("TargetArn")
    return arn.rpartition(":")[2] if arn else None


def _function_in(uri: str, where: str) -> str:
    found = FUNCTION_IN_URI.search(uri)
    if not found:
        raise TemplateError(f"{where}: no function in {uri}")
    return found[1]
