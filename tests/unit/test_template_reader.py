"""The template reader: intrinsic functions, SAM's defaults, and errors with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from local_stack.entry_points.api_gateway import Routes
from local_stack.intrinsics import NO_VALUE, Resolver, TemplateError, load
from local_stack.template import read

ROOT = Path(__file__).resolve().parents[2]

HEAD = """
Parameters:
  Name: {Type: String, Default: ada}
  Many: {Type: CommaDelimitedList, Default: "a, b"}
  Bare: {Type: String}
  Mode: {Type: String, Default: "true"}
Conditions:
  IsOn: !Equals [!Ref Mode, true]
  IsOff: !Not [!Condition IsOn]
  Both: !And [!Condition IsOn, !Equals [!Ref Name, ada]]
  Either: !Or [!Condition IsOff, !Equals [a, a]]
Mappings:
  Sizes: {small: {cpu: 1}}
Resources:
  Thing: {Type: X}
"""


def resolver_of(folder: Path, value: str) -> tuple[Resolver, Any]:
    path = folder / "template.yaml"
    path.write_text(f"{HEAD}\nValue: {value}\n")
    document = load(path)
    things = {"Thing": "thing-1"}
    attributes = {("Thing", "Arn"): "arn:thing", ("Thing", "A.B"): "deep"}
    resolver = Resolver(document, {}, things.get, lambda name, attribute: attributes.get((name, attribute)))
    return resolver, document["Value"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!Ref Name", "ada"),
        ("!Ref Many", ["a", "b"]),
        ("!Ref Thing", "thing-1"),
        ("!Ref AWS::AccountId", "000000000000"),
        ("{Ref: Name}", "ada"),
        ("!GetAtt Thing.Arn", "arn:thing"),
        ("!GetAtt Thing.A.B", "deep"),
        ("{'Fn::GetAtt': [Thing, Arn]}", "arn:thing"),
        ("!Sub 'x-${Name}-${Thing}-${Thing.Arn}-${AWS::Region}'", "x-ada-thing-1-arn:thing-us-east-1"),
        ("!Sub ['${V} ${Name} ${!Literal}', {V: !Ref Thing}]", "thing-1 ada ${Literal}"),
        ("!If [IsOn, !Ref Name, other]", "ada"),
        ("!If [IsOff, !Ref Unknown, other]", "other"),
        ("!If [Both, 1, 2]", 1),
        ("!If [Either, 1, 2]", 1),
        ("!Join [',', !Ref Many]", "a,b"),
        ("!Select [1, !Split ['/', 'x/y/z']]", "y"),
        ("!FindInMap [Sizes, small, cpu]", 1),
        ("[a, !Ref AWS::NoValue, {k: !Ref AWS::NoValue, l: 1}]", ["a", {"l": 1}]),
        ("{Ref: Name, Other: 1}", {"Ref": "Name", "Other": 1}),
    ],
)
def test_intrinsic_function_is_resolved(tmp_path: Path, value: str, expected: Any) -> None:
    resolver, document = resolver_of(tmp_path, value)
    assert resolver.resolve(document, "Here") == expected


def test_ref_to_no_value_is_no_value(tmp_path: Path) -> None:
    resolver, document = resolver_of(tmp_path, "!Ref AWS::NoValue")
    assert resolver.resolve(document, "Here") is NO_VALUE


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!Ref Nothing", "Here: !Ref Nothing is not known"),
        ("!Ref Bare", "Here: parameter Bare has no default"),
        ("!GetAtt Thing.Name", "Here: !GetAtt Thing.Name is not known"),
        ("!Sub '${Nothing}'", "Here: !Ref Nothing is not known"),
        ("!Cidr [a, 1, 2]", "Here: Fn::Cidr in this form is not supported"),
        ("!Base64 x", "Here: Fn::Base64 in this form is not supported"),
        ("!If [Nothing, 1, 2]", "unknown condition Nothing"),
    ],
)
def test_unknown_name_is_an_error_with_its_place(tmp_path: Path, value: str, message: str) -> None:
    resolver, document = resolver_of(tmp_path, value)
    with pytest.raises(TemplateError, match=message.replace("[", r"\[")):
        resolver.resolve(document, "Here")


def test_template_of_the_project_is_read() -> None:
    template = read(ROOT / "template.yaml", {"AllowedOrigins": "http://a,http://b"})
    stream, converse = template.functions["StreamFunction"], template.functions["ConverseFunction"]
    assert stream.code == ROOT / "functions" / "stream"
    assert stream.has_url
    assert not converse.has_url
    assert stream.cors
    assert stream.cors.origins == ("http://a", "http://b")
    assert stream.environment["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/streaming-bootstrap"
    assert stream.environment["TABLE_NAME"] == "ChatTable"
    assert "AWS_LAMBDA_EXEC_WRAPPER" not in converse.environment
    assert [layer.name for layer in stream.layers] == ["StreamingRuntimeLayer", "ChatLayer"]
    assert not any(layer.built for layer in stream.layers)
    assert stream.reserved_concurrency is None
    assert (converse.retries, converse.dead_letters) == (2, "DeadLetters")
    assert template.http_api
    assert {route.function for route in template.http_api.routes} == {"ConverseFunction"}
    assert {"GET /{proxy+}", "POST /chat/{id}/cancel"} <= {route.key for route in template.http_api.routes}
    assert template.rest_api is None
    [table] = template.tables
    assert table["TableName"] == "ChatTable"


def test_sample_events_have_the_route_that_matches_them() -> None:
    api = read(ROOT / "template.yaml").http_api
    assert api
    routes = Routes(api.routes)
    for file in (ROOT / "events").glob("http-api-*.json"):
        event = json.loads(file.read_text(encoding="utf-8"))
        match = routes.find(event["requestContext"]["http"]["method"], event["rawPath"])
        assert match
        assert event["routeKey"] == event["requestContext"]["routeKey"] == match[0].key
        assert event.get("pathParameters", {}) == match[1]


def test_web_bucket_is_listed_so_missing_files_are_not_found() -> None:
    assert read(ROOT / "template.yaml", {"WebHost": "enabled"}).listed_buckets == {"WebBucket"}


def test_parameters_change_the_template() -> None:
    parameters = {"RestStreaming": "enabled", "StreamConcurrency": "7", "InferenceProfile": "none"}
    template = read(ROOT / "template.yaml", parameters)
    assert template.functions["StreamFunction"].reserved_concurrency == 7
    assert template.functions["StreamFunction"].environment["REST_STREAMING"] == "1"
    assert template.rest_api
    assert [(route.method, route.path, route.function) for route in template.rest_api.routes] == [
        ("ANY", "/{proxy+}", "StreamFunction")
    ]
    assert template.rest_api.cors
    assert "content-type" in template.rest_api.cors.headers
    with pytest.raises(TemplateError, match="no parameter Colour"):
        read(ROOT / "template.yaml", {"Colour": "red"})


def test_configured_key_encrypts_the_table() -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/mrk-1234abcd12ab34cd56ef1234567890ab"
    [table] = read(ROOT / "template.yaml", {"KmsKeyArn": key}).tables
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    [table] = read(ROOT / "template.yaml").tables
    assert "SSESpecification" not in table


def environment_bytes(parameters: dict[str, str]) -> int:
    environment = read(ROOT / "template.yaml", parameters).functions["StreamFunction"].environment
    return len(json.dumps(dict(environment), separators=(",", ":"), ensure_ascii=False).encode())


def test_environment_over_the_size_limit_of_lambda_is_refused() -> None:
    """The size is that of names and values as JSON in UTF-8. Lambda accepts 4,096 bytes and refuses 4,097."""
    base = environment_bytes({"JwtIssuer": ""})
    longest = "https://example.com/" + "ü" * ((4096 - base - 20) // 2)
    longest += "x" * (4096 - base - len(longest.encode()))
    assert environment_bytes({"JwtIssuer": longest}) == 4096
    with pytest.raises(
        TemplateError, match=r"StreamFunction: Lambda was unable to .* 4KB.* 4,097 bytes.* 4,096"
    ) as error:
        read(ROOT / "template.yaml", {"JwtIssuer": longest + "x"})
    assert "example.com" not in str(error.value)


def test_built_template_has_the_built_folders(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        """
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: F, Handler: app.handler, Runtime: python3.13, Layers: [!Ref L]}
  L:
    Type: AWS::Serverless::LayerVersion
    Metadata: {SamResourceId: L}
    Properties: {ContentUri: L}
"""
    )
    function = read(tmp_path / "template.yaml").functions["F"]
    assert function.code == tmp_path / "F"
    assert (function.layers[0].folder, function.layers[0].built) == (tmp_path / "L", True)
    assert (function.timeout, function.memory, function.retries) == (3, 128, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Resources: {F: {Type: AWS::Serverless::Function, Properties: {CodeUri: x, Runtime: y}}}", "F: no Handler"),
        ("a: [", "template.yaml: while parsing"),
        ("a: 1", "it has no Resources"),
    ],
)
def test_invalid_template_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "template.yaml").write_text(text)
    with pytest.raises(TemplateError, match=message):
        read(tmp_path / "template.yaml")
