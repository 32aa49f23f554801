"""The template after SAM's transform, for every value of its parameters: checks beyond lint and validate."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from converse_stream.http.request import EXPOSED_HEADERS
from local_stack.entry_points.api_gateway import Routes
from local_stack.template import ENVIRONMENT_BYTES, Route, read
from tests.routes import converse_routes
from tests.unit.rules import violated
from tests.unit.transform import (
    CASES,
    ENTRY_POINTS,
    FREE_VALUES,
    JWT,
    ROOT,
    SOURCE,
    Resources,
    case_id,
    of_type,
    stacks,
    transformed,
    values_of,
)

pytestmark = pytest.mark.xdist_group("template")  # one transformation for all tests of the group

THROTTLED = {"POST /chat/{id}/cancel", "POST /ai/chat/{id}/stop", "GET /health", "GET /openapi.json"}
ROUTES = {f"{method} /{{proxy+}}" for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")} | THROTTLED


@pytest.fixture(params=range(len(CASES)), ids=[case_id(case) for case in CASES])
def case(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def stack(case: int) -> Resources:
    return stacks()[case]


def test_parameters_have_the_order_of_their_groups() -> None:
    groups = SOURCE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(SOURCE["Parameters"])
    assert all(group["Label"]["default"] for group in groups)


def test_template_has_fewer_than_960_lines() -> None:
    assert len((ROOT / "template.yaml").read_text(encoding="utf-8").splitlines()) < 960


def test_cases_contain_every_value_of_every_parameter() -> None:
    for name in SOURCE["Parameters"]:
        assert len(values_of(name)) > 1
        assert {case[name] for case in CASES} == set(values_of(name))


@pytest.mark.parametrize(
    "name", [name for name, parameter in SOURCE["Parameters"].items() if parameter["Type"] == "Number"]
)
def test_defaults_and_bounds_are_whole_numbers(name: str) -> None:
    """SAM CLI gives a function an empty string where a parameter's default is a YAML float."""
    parameter = SOURCE["Parameters"][name]
    values = [parameter[key] for key in ("Default", "MinValue", "MaxValue") if key in parameter]
    assert all(type(value) is int for value in values)


def test_functions_have_their_settings(stack: Resources, case: int) -> None:
    functions = of_type(stack, "AWS::Lambda::Function")
    assert functions.keys() == {"StreamFunction", "ConverseFunction"}
    for name, function in functions.items():
        assert function["Runtime"] == "python3.13"
        assert function["Architectures"] == [CASES[case]["Architecture"]]
        concurrency = CASES[case][name.replace("Function", "Concurrency")]
        assert function.get("ReservedConcurrentExecutions") == (concurrency or None)
        assert function["LoggingConfig"]["LogGroup"] == f"<{name.replace('Function', 'Logs')}>"
    environment = {name: function["Environment"]["Variables"] for name, function in functions.items()}
    assert environment["StreamFunction"]["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/streaming-bootstrap"
    assert "AWS_LAMBDA_EXEC_WRAPPER" not in environment["ConverseFunction"]
    for variables in environment.values():
        for name in ("JwtIssuer", "JwtAudience", "JwtAlgorithms", "JwksUrl"):
            variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
            assert variables[variable] == CASES[case][name]
    assert {variables["ORIGIN_SECRET"] for variables in environment.values()} == {CASES[case]["OriginSecret"]}
    assert environment["StreamFunction"]["REST_STREAMING"] == ("1" if "RestApi" in stack else "0")


def test_layers_have_the_architecture_of_the_functions(stack: Resources) -> None:
    architectures = stack["StreamFunction"]["Properties"]["Architectures"]
    layers = of_type(stack, "AWS::Lambda::LayerVersion")
    assert len(layers) == 2
    assert all(layer["CompatibleArchitectures"] == architectures for layer in layers.values())


def test_replaced_layer_version_is_deleted(stack: Resources) -> None:
    layers = [resource for resource in stack.values() if resource["Type"] == "AWS::Lambda::LayerVersion"]
    assert {layer["DeletionPolicy"] for layer in layers} == {"Delete"}


def test_function_url_streams_responses(stack: Resources, case: int) -> None:
    [url] = of_type(stack, "AWS::Lambda::Url").values()
    assert url["InvokeMode"] == "RESPONSE_STREAM"
    assert url["AuthType"] == CASES[case]["UrlAuthType"]


def test_function_url_has_only_the_permissions_of_its_auth_type(stack: Resources, case: int) -> None:
    permissions = [
        permission
        for permission in of_type(stack, "AWS::Lambda::Permission").values()
        if permission["Principal"] != "apigateway.amazonaws.com"
    ]
    auth_type = CASES[case]["UrlAuthType"]
    caller = {"FunctionName": "<StreamFunction>"} | (
        {"Principal": "*"} if auth_type == "NONE" else {"Principal": "000000000000"}
    )
    assert sorted(permissions, key=lambda permission: str(permission["Action"])) == [
        {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True, **caller},
        {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": auth_type, **caller},
    ]


def test_gateways_may_invoke_only_their_own_function(stack: Resources) -> None:
    permitted = {
        (permission["FunctionName"], permission["SourceArn"].rsplit(":", 1)[1])
        for permission in of_type(stack, "AWS::Lambda::Permission").values()
        if permission["Principal"] == "apigateway.amazonaws.com"
    }
    rest = {("<StreamFunction>", "<RestApi>/*")} if "RestApi" in stack else set()
    assert permitted == {("<ConverseFunction>", "<HttpApi>/*")} | rest


def test_every_route_has_the_authorizer_of_the_mode(stack: Resources, case: int) -> None:
    routes = of_type(stack, "AWS::ApiGatewayV2::Route").values()
    assert {route["RouteKey"] for route in routes} == ROUTES
    authorization = "AWS_IAM" if CASES[case]["AuthMode"] == "iam" else "NONE"
    assert {route["AuthorizationType"] for route in routes} == {authorization}
    assert {route["Target"] for route in routes} == {"integrations/<ConverseIntegration>"}
    for path in of_type(stack, "AWS::ApiGateway::RestApi").values():
        for method, operation in itertools.chain.from_iterable(map(dict.items, path["Body"]["paths"].values())):
            assert operation["x-amazon-apigateway-auth"]["type"] == ("NONE" if method == "options" else authorization)


def test_no_route_of_the_gateway_matches_preflights(stack: Resources) -> None:
    """It does if no route matches OPTIONS. A route that matches requires a signature, which preflights lack."""
    keys = [route["RouteKey"] for route in of_type(stack, "AWS::ApiGatewayV2::Route").values()]
    assert not [key for key in keys if key.split(" ")[0] in {"ANY", "OPTIONS", "$default"}]


def test_every_route_of_the_function_matches_a_route_of_the_gateway(stack: Resources) -> None:
    keys = [route["RouteKey"].split(" ") for route in of_type(stack, "AWS::ApiGatewayV2::Route").values()]
    routes, reached = Routes([Route(method, path, "ConverseFunction") for method, path in keys]), set()
    for route in converse_routes():
        method, path = route.split(" ")
        match = routes.find(method, path.replace("{}", "an-id"))
        assert match, route
        reached.add(match[0].key)
    assert reached >= THROTTLED


def test_http_api_has_its_maximum_timeout(stack: Resources) -> None:
    [integration] = of_type(stack, "AWS::ApiGatewayV2::Integration").values()
    assert integration["PayloadFormatVersion"] == "2.0"
    assert integration["TimeoutInMillis"] == 30000
    [stage] = of_type(stack, "AWS::ApiGatewayV2::Stage").values()
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)


def test_gateways_have_the_configured_throttle(stack: Resources, case: int) -> None:
    [stage] = of_type(stack, "AWS::ApiGatewayV2::Stage").values()
    limits = {
        "ThrottlingBurstLimit": CASES[case]["GatewayBurst"],
        "ThrottlingRateLimit": CASES[case]["GatewayRequestsPerSecond"],
    }
    assert {name: str(value) for name, value in stage["DefaultRouteSettings"].items()} == limits
    for rest in of_type(stack, "AWS::ApiGateway::Stage").values():
        [settings] = rest["MethodSettings"]
        assert {name: str(settings[name]) for name in limits} == limits


def test_throttled_routes_are_created_before_their_settings(stack: Resources) -> None:
    """API Gateway refuses settings of a route that it does not have yet."""
    [stage] = (throttle for throttle in stack.values() if throttle["Type"] == "AWS::ApiGatewayV2::Stage")
    settings = stage["Properties"]["RouteSettings"]
    assert settings.keys() == THROTTLED
    assert all(throttle.keys() == {"ThrottlingBurstLimit", "ThrottlingRateLimit"} for throttle in settings.values())
    before = {stack[name]["Properties"]["RouteKey"] for name in stage["DependsOn"]}
    assert before == settings.keys()


def test_rest_api_streams_responses_of_every_path(stack: Resources, case: int) -> None:
    apis = of_type(stack, "AWS::ApiGateway::RestApi")
    assert len(apis) == (CASES[case]["RestStreaming"] == "enabled")
    for api in apis.values():
        assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
        assert api["Body"]["paths"].keys() == {"/{proxy+}"}  # the function selects the route
        [operations] = api["Body"]["paths"].values()
        integration = operations["x-amazon-apigateway-any-method"]["x-amazon-apigateway-integration"]
        assert integration["responseTransferMode"] == "STREAM"
        assert integration["timeoutInMillis"] == 900000
        assert integration["uri"].endswith(
            ":lambda:path/2021-11-15/functions/<StreamFunction.Arn>/response-streaming-invocations"
        )
        assert integration["httpMethod"] == "POST"


def test_rest_api_is_deployed_again_when_a_parameter_changes() -> None:
    """SAM names a deployment by its definition's text, in which another AuthMode is still the same `Fn::If`."""
    assert SOURCE["Resources"]["RestApi"]["Properties"]["AlwaysDeploy"] is True


def test_cors_is_the_same_at_every_entry_point(stack: Resources, case: int) -> None:
    [url] = of_type(stack, "AWS::Lambda::Url").values()
    cors = url["Cors"]
    assert of_type(stack, "AWS::ApiGatewayV2::Api")["HttpApi"]["CorsConfiguration"] == cors
    assert cors["AllowOrigins"] == CASES[case]["AllowedOrigins"].split(",")
    assert "*" not in cors["AllowOrigins"]
    assert not {"OPTIONS", "*"} & set(cors["AllowMethods"])
    assert cors["ExposeHeaders"] == EXPOSED_HEADERS.split(",")  # the function sets the header itself for the REST API
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["ALLOWED_ORIGINS"] == ",".join(cors["AllowOrigins"])
    for api in of_type(stack, "AWS::ApiGateway::RestApi").values():
        [operations] = api["Body"]["paths"].values()
        answer = operations["options"]["x-amazon-apigateway-integration"]["responses"]["default"]
        headers = {key.rsplit(".", 1)[1]: value.strip("'") for key, value in answer["responseParameters"].items()}
        assert headers == {
            "access-control-allow-methods": ",".join(cors["AllowMethods"]),
            "access-control-allow-headers": ",".join(cors["AllowHeaders"]),
            "access-control-max-age": str(cors["MaxAge"]),
            "vary": "origin",
        }
        assert f'#set($origins = "{",".join(cors["AllowOrigins"])}")' in answer["responseTemplates"]["application/json"]
        for refusal in ("DEFAULT_4XX", "DEFAULT_5XX"):  # responses of the gateway, which can contain only one origin
            assert api["Body"]["x-amazon-apigateway-gateway-responses"][refusal]["responseParameters"] == {
                "gatewayresponse.header.access-control-allow-origin": f"'{cors['AllowOrigins'][0]}'",
                "gatewayresponse.header.vary": "'origin'",
            }


def statements(stack: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in of_type(stack, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        for name, policy in of_type(stack, kind).items():
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_each_function_has_its_own_role(stack: Resources) -> None:
    roles = of_type(stack, "AWS::IAM::Role")
    assert roles.keys() == {"StreamRole", "ConverseRole"}
    for name, function in of_type(stack, "AWS::Lambda::Function").items():
        assert function["Role"] == f"<{name.replace('Function', 'Role')}.Arn>"
    assert {tuple(role["ManagedPolicyArns"]) for role in roles.values()} == {("<ModelPolicy>",)}


def test_no_wildcard_in_actions_or_resources_except_those_of_model_arns(stack: Resources) -> None:
    for owner, statement in statements(stack):
        assert not [action for action in as_list(statement["Action"]) if "*" in action], (owner, statement["Sid"])
        if statement["Sid"] == "Models":
            continue
        for resource in as_list(statement["Resource"]):
            if statement["Sid"] == "Guardrail":  # AWS's guardrail profiles; useless without a guardrail
                resource = re.sub(r"^arn:aws:bedrock:\*:0{12}:guardrail-profile/\*$", "", resource)
            assert "*" not in resource, (owner, statement["Sid"])


def test_wildcard_resources_have_a_comment_with_the_reason() -> None:
    lines = (ROOT / "template.yaml").read_text(encoding="utf-8").splitlines()
    resources = lines.index("Resources:")
    groups = [number for number, line in enumerate(lines) if number > resources and ":*" in line and "arn:" in line]
    first_of_a_list = [number for number in groups if number - 1 not in groups]
    assert first_of_a_list
    for number in first_of_a_list:
        assert lines[number - 1].strip() == "Resource:"
        assert lines[number - 2].strip().startswith("#"), lines[number]


def test_functions_have_only_the_required_permissions(stack: Resources, case: int) -> None:
    """tests/e2e/test_permissions.py checks that every permission is used."""
    permissions = {(owner, statement["Sid"]): statement for owner, statement in statements(stack)}
    logs = {"logs:CreateLogStream", "logs:PutLogEvents"}
    table_actions = {
        f"dynamodb:{action}"
        for action in ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
    }
    expected = {
        ("TurnPolicy", "Turn"): (table_actions, "<ChatTable.Arn>"),
        ("StreamRole", "Logs"): (logs, "<StreamLogs.Arn>"),
        ("ListPolicy", "ListConversations"): ({"dynamodb:Query"}, "<ChatTable.Arn>/index/by-update"),
        ("ConverseRole", "Logs"): (logs, "<ConverseLogs.Arn>"),
        ("ListPolicy", "DeadLetters"): ({"sqs:SendMessage"}, "<DeadLetters.Arn>"),
        ("TaskPolicy", "Tasks"): ({"lambda:InvokeFunction"}, "<ConverseFunction.Arn>"),
    }
    if function := CASES[case]["ClassifyFunctionArn"]:
        expected |= {("ClassifyPolicy", "Classify"): ({"lambda:InvokeFunction"}, function)}
    if CASES[case]["AppConfigProfile"]:
        read = {"appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration"}
        profile = "application/abc1234/environment/def5678/configuration/ghi9012"
        expected |= {("FlagsPolicy", "Flags"): (read, f"arn:aws:appconfig:us-east-1:000000000000:{profile}")}
    if key := CASES[case]["KmsKeyArn"]:
        expected |= {
            ("TableKeyPolicy", "TableKey"): ({"kms:Decrypt"}, key),
            ("DeadLettersKeyPolicy", "DeadLettersKey"): ({"kms:Decrypt", "kms:GenerateDataKey"}, key),
        }
        if CASES[case]["AppConfigProfile"]:
            expected |= {("FlagsPolicy", "FlagsKey"): ({"kms:Decrypt"}, key)}
    other_permissions = {key: value for key, value in permissions.items() if key[0] != "ModelPolicy"}
    assert {
        key: (set(as_list(value["Action"])), value["Resource"]) for key, value in other_permissions.items()
    } == expected


def test_policies_are_attached_to_the_roles_that_need_them(stack: Resources) -> None:
    stream, converse = "<StreamRole>", "<ConverseRole>"
    roles = {
        "TurnPolicy": [stream, converse],
        "ListPolicy": [converse],
        "TableKeyPolicy": [stream, converse],
        "DeadLettersKeyPolicy": [converse],
        "TaskPolicy": [stream, converse],
        "ClassifyPolicy": [converse],
        "FlagsPolicy": [stream, converse],
    }
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        for name, policy in of_type(stack, kind).items():
            assert policy.get("Roles") == roles.get(name), name


@pytest.mark.parametrize(
    ("parameters", "accepted"),
    [
        ({}, True),
        ({"ClassifyLabels": "a,b"}, False),
        ({"ClassifyFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:triage"}, False),
        ({"ClassifyLabels": "a,b", "ClassifyFunctionArn": "arn"}, True),
        ({"ClassifyLabels": "a,b", "ClassifyFunctionArn": "arn", "Learning": "disabled"}, False),
        ({"AppConfigProfile": "ghi9012"}, False),
        ({"AppConfigProfile": "ghi9012", "AppConfigApplication": "abc1234"}, False),
        (
            {"AppConfigProfile": "ghi9012", "AppConfigApplication": "abc1234", "AppConfigEnvironment": "def5678"},
            True,
        ),
    ],
)
def test_dependent_parameters_must_be_set_together(parameters: dict[str, str], *, accepted: bool) -> None:
    assert (violated(SOURCE, parameters) == []) == accepted


def test_model_policy_permits_the_configured_models_and_guardrail(stack: Resources, case: int) -> None:
    by_sid = {statement["Sid"]: statement for owner, statement in statements(stack) if owner == "ModelPolicy"}
    guardrail = by_sid.get("Guardrail")
    assert bool(guardrail) == bool(CASES[case]["GuardrailId"])
    if guardrail:
        assert guardrail["Action"] == "bedrock:ApplyGuardrail"
        assert guardrail["Resource"] == [
            "arn:aws:bedrock:*:000000000000:guardrail-profile/*",
            f"arn:aws:bedrock:us-east-1:000000000000:guardrail/{CASES[case]['GuardrailId']}",
        ]
    assert set(by_sid["Models"]["Action"]) == {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}
    assert by_sid["Models"]["Resource"] == CASES[case]["ModelArns"].split(",")
    assert by_sid.keys() <= {"Models", "Overrides", "Guardrail", "Embeddings", "Documents"}


@pytest.mark.parametrize(
    ("source", "resource"),
    [
        ("", None),
        ("models.json", None),
        ('{"anthropic.claude-opus-7": {"like": "claude-opus"}}', None),
        ("/chat/models", "arn:aws:ssm:us-east-1:000000000000:parameter/chat/models"),
        ("arn:aws:ssm:us-west-2:123456789012:parameter/models", "arn:aws:ssm:us-west-2:123456789012:parameter/models"),
    ],
)
def test_functions_may_read_only_the_parameter_of_the_overrides(source: str, resource: str | None) -> None:
    assert re.search(SOURCE["Parameters"]["ModelOverrides"]["AllowedPattern"], source)
    [stack] = transformed([{**CASES[0], "ModelOverrides": source}])
    found = [statement for _, statement in statements(stack) if "ssm" in json.dumps(statement)]
    assert [(each["Action"], each["Resource"]) for each in found] == (
        [("ssm:GetParameter", resource)] if resource else []
    )
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["MODEL_OVERRIDES"] == source


@pytest.mark.parametrize("source", ["models/../../etc/passwd", "https://example.com/models.json", "arn:aws:s3:::b/k"])
def test_other_sources_of_overrides_are_refused(source: str) -> None:
    assert not re.search(SOURCE["Parameters"]["ModelOverrides"]["AllowedPattern"], source)


def test_environment_leaves_room_for_long_values() -> None:
    """Lambda's limit is 4,096 bytes. The values of a real deployment are longer than the local stack's."""
    long_values = {name: value for name, value in FREE_VALUES.items() if SOURCE["Parameters"][name]["Type"] == "String"}
    identity = {"JwtIssuer": "https://cognito-idp.ap-southeast-2.amazonaws.com/ap-southeast-2_123456789", **JWT}
    for parameters, left in (({}, 2_500), (long_values | identity | {"AllowedOrigins": "x" * 300}, 2_000)):
        for function in read(ROOT / "template.yaml", parameters).functions.values():
            size = len(json.dumps(dict(function.environment), separators=(",", ":")))
            assert size < ENVIRONMENT_BYTES - left, function.name


def test_memory_is_permitted_only_with_its_configuration(stack: Resources, case: int) -> None:
    allowed = {
        (statement["Sid"], statement["Action"], statement["Resource"])
        for _, statement in statements(stack)
        if statement["Sid"] in {"Embeddings", "Documents"}
    }
    model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
    base = f"arn:aws:bedrock:us-east-1:000000000000:knowledge-base/{CASES[case]['KnowledgeBaseId']}"
    embeddings = {("Embeddings", "bedrock:InvokeModel", model)} if CASES[case]["EmbeddingModel"] else set()
    documents = {("Documents", "bedrock:Retrieve", base)} if CASES[case]["KnowledgeBaseId"] else set()
    assert allowed == embeddings | documents
    groups = SOURCE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    [group] = [each for each in groups if each["Label"]["default"] == "History, memory and documents"]
    for function in of_type(stack, "AWS::Lambda::Function").values():
        variables = function["Environment"]["Variables"]
        for name in group["Parameters"]:
            assert variables[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()] == CASES[case][name]


def test_table_is_retained_and_has_recovery(stack: Resources) -> None:
    table = stack["ChatTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    properties = table["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    [index] = properties["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == ("by-update", {"ProjectionType": "ALL"})


def test_configured_key_encrypts_table_logs_and_queue(stack: Resources, case: int) -> None:
    key = CASES[case]["KmsKeyArn"]
    encryption = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    # No SSESpecification without a key: `SSEEnabled` alone selects AWS's managed key, which has a price per call.
    assert stack["ChatTable"]["Properties"].get("SSESpecification") == (encryption if key else None)
    assert {group.get("KmsKeyId", "") for group in of_type(stack, "AWS::Logs::LogGroup").values()} == {key}
    queue = stack["DeadLetters"]["Properties"]
    assert (queue.get("KmsMasterKeyId", ""), queue.get("SqsManagedSseEnabled", False)) == (key, not key)
    for owner, statement in statements(stack):
        if statement.get("Resource") == key and statement["Sid"] != "FlagsKey":
            service = "sqs" if statement["Sid"] == "DeadLettersKey" else "dynamodb"
            assert statement["Condition"] == {
                "StringEquals": {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}
            }, owner


def test_functions_have_the_retention_period(stack: Resources, case: int) -> None:
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["RETENTION_DAYS"] == CASES[case]["RetentionDays"]


def test_log_groups_have_the_configured_retention(stack: Resources, case: int) -> None:
    groups = of_type(stack, "AWS::Logs::LogGroup")
    assert len(groups) == 2
    assert {str(group["RetentionInDays"]) for group in groups.values()} == {CASES[case]["LogRetentionDays"]}


def test_failed_tasks_go_to_the_dead_letter_queue(stack: Resources) -> None:
    [retry] = of_type(stack, "AWS::Lambda::EventInvokeConfig").values()
    assert retry["FunctionName"] == "<ConverseFunction>"
    assert retry["MaximumRetryAttempts"] == 2
    assert retry["DestinationConfig"] == {"OnFailure": {"Destination": "<DeadLetters.Arn>"}}


def metrics_of(alarm: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    single = [alarm] if "MetricName" in alarm else []
    several = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    return {
        (metric["Namespace"], metric["MetricName"], dimension["Name"], dimension["Value"])
        for metric in single + several
        for dimension in metric["Dimensions"]
    }


def test_alarms_have_their_metrics_and_actions(stack: Resources, case: int) -> None:
    alarms = of_type(stack, "AWS::CloudWatch::Alarm")
    assert {name: metrics_of(alarm) for name, alarm in alarms.items()} == {
        "ServerErrorsAlarm": {
            ("AWS/Lambda", "Url5xxCount", "FunctionName", "<StreamFunction>"),
            ("AWS/ApiGateway", "5xx", "ApiId", "<HttpApi>"),
            ("AWS/Lambda", "Errors", "FunctionName", "<StreamFunction>"),
            ("StreamingRuntime", "UnhandledErrors", "FunctionName", "<StreamFunction>"),
            ("StreamingRuntime", "InterruptedResponses", "FunctionName", "<StreamFunction>"),
        },
        "ThrottlesAlarm": {
            ("AWS/Lambda", "Throttles", "FunctionName", "<StreamFunction>"),
            ("AWS/Lambda", "Throttles", "FunctionName", "<ConverseFunction>"),
        },
        "LostAnswersAlarm": {("ConverseStream", "Lost", "service", "local")},
        "DeadLettersAlarm": {("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "<DeadLetters.QueueName>")},
    }
    for function in of_type(stack, "AWS::Lambda::Function").values():
        environment = function["Environment"]["Variables"]
        assert environment["POWERTOOLS_METRICS_NAMESPACE"] == "ConverseStream"
        assert environment["POWERTOOLS_SERVICE_NAME"] == "local"
    topic = CASES[case]["AlarmTopicArn"]
    assert {str(alarm.get("AlarmActions")) for alarm in alarms.values()} == {str([topic] if topic else None)}


def test_only_valid_combinations_of_entry_points_are_accepted() -> None:
    names = list(ENTRY_POINTS[0])
    choices = (dict(zip(names, values, strict=True)) for values in itertools.product(*map(values_of, names)))
    assert [choice for choice in choices if (violated(SOURCE, choice) == []) != (choice in ENTRY_POINTS)] == []


@pytest.mark.parametrize(
    "origin", ["*", "null", "http://*.example.com", 'https://a.example"', "https://a.example/path"]
)
def test_invalid_origin_is_refused(origin: str) -> None:
    assert not re.search(SOURCE["Parameters"]["AllowedOrigins"]["AllowedPattern"], origin)


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab", True),
        ("arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab", True),
        ("arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab", True),
        ("arn:aws:kms:eu-west-1:123456789012:alias/chat", False),  # IAM does not accept an alias in place of its key
        ("1234abcd-12ab-34cd-56ef-1234567890ab", False),
    ],
)
def test_only_a_key_arn_is_accepted(key: str, *, allowed: bool) -> None:
    assert bool(re.search(SOURCE["Parameters"]["KmsKeyArn"]["AllowedPattern"], key)) == allowed


@pytest.mark.parametrize(
    ("labels", "allowed"), [("", True), ("billing", True), ("billing,travel", True), ("a,,b", False), ("x" * 51, False)]
)
def test_labels_match_their_pattern(labels: str, *, allowed: bool) -> None:
    assert bool(re.search(SOURCE["Parameters"]["ClassifyLabels"]["AllowedPattern"], labels)) == allowed
