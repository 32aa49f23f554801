"""The web host after SAM's transform: the configuration of CloudFront and S3."""

import re
from typing import Any

import pytest

from local_stack.entry_points.distribution import Distribution, distribution
from tests.routes import converse_routes, stream_routes
from tests.unit.transform import CASES, ENTRY_POINTS, ROOT, SOURCE, Resources, of_type, stacks

pytestmark = pytest.mark.xdist_group("template")  # one transformation for all tests of the group

HOSTED = [
    CASES.index(next(case for case in CASES if entry_points.items() <= case.items()))
    for entry_points in ENTRY_POINTS[-2:]
]
ALL_METHODS = {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}
HEARTBEAT_SECONDS = 10
BUFFERED_ANSWER_SECONDS = 100  # an answer without streaming: 90 s idle limit of the model, plus the rest
# Managed origin request policies that forward every cookie, by their ids in every account:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html
ALL_COOKIES = {"216adef6-5c7f-47e4-b989-5492eafa07d3", "b689b0a8-53d0-40ab-baf2-68738e2966ac"}


@pytest.fixture(params=HOSTED, ids=["default-domain", "own-domain"])
def case(request: pytest.FixtureRequest) -> dict[str, str]:
    parameters: dict[str, str] = CASES[request.param]
    return parameters


@pytest.fixture
def stack(case: dict[str, str]) -> Resources:
    return stacks()[CASES.index(case)]


@pytest.fixture
def config(stack: Resources) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::CloudFront::Distribution").values()
    settings: dict[str, Any] = properties["DistributionConfig"]
    return settings


@pytest.fixture
def table(config: dict[str, Any], stack: Resources) -> Distribution:
    policies = of_type(stack, "AWS::CloudFront::ResponseHeadersPolicy")
    return distribution(
        config, {f"<{name}>": policy["ResponseHeadersPolicyConfig"] for name, policy in policies.items()}
    )


def test_web_host_is_created_only_if_enabled() -> None:
    for case, stack in zip(CASES, stacks(), strict=True):
        kinds = {resource["Type"] for resource in stack.values()}
        web_kinds = {kind for kind in kinds if kind.startswith(("AWS::CloudFront::", "AWS::S3::"))}
        assert bool(web_kinds) == (case["WebHost"] == "enabled")


def test_every_route_has_the_origin_of_its_function(table: Distribution) -> None:
    streams, buffered = stream_routes(), converse_routes()
    assert {"POST /chat", "POST /chat/{}/cancel", "GET /health"} <= streams & buffered
    for route in streams | buffered:
        method, path = route.split(" ")
        behavior = table.behavior(path.replace("{}", "an-id_1234"))
        expected = "StreamFunction" if route in streams - buffered or route == "POST /chat" else "HttpApi"
        assert (behavior.origin, method in behavior.methods) == (expected, True), route


def test_every_file_of_the_page_has_the_bucket_as_origin(table: Distribution) -> None:
    files = [path for path in (ROOT / "web/demo").rglob("*") if path.is_file()]
    assert files
    for path in ["/", "/page/config.json", *(f"/page/{file.relative_to(ROOT / 'web/demo')}" for file in files)]:
        assert table.behavior(path).origin == "WebBucket", path


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/chat", "StreamFunction"),
        ("/Chat", "HttpApi"),
        ("/chat/a/stream", "StreamFunction"),
        ("/chat/a/cancel", "HttpApi"),
        ("/ai/chat", "StreamFunction"),
        ("/ai/chat/a/stream", "StreamFunction"),
        ("/ai/chat/a/stop", "HttpApi"),
        ("/v1/models/nova-lite", "StreamFunction"),
        ("/page/memory.js", "WebBucket"),
        ("/memory/a.js", "HttpApi"),
        ("/conversations/stream", "HttpApi"),
        ("/conversations/page", "HttpApi"),
        ("/pages", "HttpApi"),
        ("/unknown", "HttpApi"),
    ],
)
def test_path_has_its_origin(table: Distribution, path: str, origin: str) -> None:
    assert table.behavior(path).origin == origin


def test_only_the_page_is_cached_and_compressed(config: dict[str, Any]) -> None:
    behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    assert len(behaviors) == 8
    for behavior in behaviors:
        if behavior["TargetOriginId"] == "WebBucket":
            continue
        assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # CachingDisabled
        assert behavior["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"  # AllViewerExceptHostHeader
        assert behavior["Compress"] is False
        assert (
            behavior["ViewerProtocolPolicy"] == "https-only"
        )  # with a redirect, the token would already be sent unencrypted
        assert set(behavior["AllowedMethods"]) == ALL_METHODS
        assert [association["FunctionARN"] for association in behavior["FunctionAssociations"]] == [
            "<ViewerAddress.FunctionARN>"
        ]
    of_the_page = [behavior for behavior in behaviors if behavior["TargetOriginId"] == "WebBucket"]
    assert {behavior["PathPattern"] for behavior in of_the_page} == {"/", "/page/*"}
    for behavior in of_the_page:
        assert behavior["CachePolicyId"] == "658327ea-f89d-4fab-a63d-7e88639e58f6"  # CachingOptimized
        assert behavior["Compress"] is True
        assert behavior["AllowedMethods"] == ["GET", "HEAD"]
        assert behavior["ViewerProtocolPolicy"] == "redirect-to-https"
        assert "OriginRequestPolicyId" not in behavior  # the bucket needs no header of the viewer
    assert config["DefaultRootObject"] == "page/index.html"


def test_errors_are_not_cached(table: Distribution) -> None:
    assert table.error_seconds == dict.fromkeys([404, 500, 502, 503, 504], 0)


def test_requests_of_several_users_are_not_collapsed(config: dict[str, Any]) -> None:
    """CloudFront does not collapse requests whose cookies it forwards ("Simultaneous requests for the same object")."""
    behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    of_the_api = [behavior for behavior in behaviors if behavior["TargetOriginId"] != "WebBucket"]
    assert {behavior["OriginRequestPolicyId"] for behavior in of_the_api} <= ALL_COOKIES


def test_origins_have_the_secret_and_their_timeouts(config: dict[str, Any], case: dict[str, str]) -> None:
    origins = {origin["Id"]: origin for origin in config["Origins"]}
    assert {name: origin["DomainName"] for name, origin in origins.items()} == {
        "StreamFunction": "<StreamFunctionUrl>",
        "HttpApi": "<HttpApi>.execute-api.us-east-1.amazonaws.com",
        "WebBucket": "<WebBucket.RegionalDomainName>",
    }
    page = origins.pop("WebBucket")
    assert page["OriginAccessControlId"] == "<WebBucketAccess>"
    assert "OriginCustomHeaders" not in page
    for origin in origins.values():
        assert origin["OriginCustomHeaders"] == [{"HeaderName": "x-origin-secret", "HeaderValue": case["OriginSecret"]}]
        custom = origin["CustomOriginConfig"]
        assert (custom["OriginProtocolPolicy"], custom["OriginSSLProtocols"]) == ("https-only", ["TLSv1.2"])
        minimum = 2 * HEARTBEAT_SECONDS if origin["Id"] == "HttpApi" else BUFFERED_ANSWER_SECONDS
        assert minimum < custom["OriginReadTimeout"] <= 120  # CloudFront's limit
        assert custom["OriginKeepaliveTimeout"] <= 60  # a higher value needs a higher quota


def test_certificate_and_tls_version_follow_the_domain(config: dict[str, Any], case: dict[str, str]) -> None:
    if case["WebDomain"]:
        assert config["Aliases"] == [case["WebDomain"]]
        assert config["ViewerCertificate"] == {
            "AcmCertificateArn": case["WebCertificateArn"],
            "SslSupportMethod": "sni-only",
            "MinimumProtocolVersion": "TLSv1.2_2021",
        }
    else:
        assert "Aliases" not in config
        assert config["ViewerCertificate"] == {"CloudFrontDefaultCertificate": True}


def test_every_response_has_the_security_headers(table: Distribution) -> None:
    [headers] = {behavior.headers for behavior in table.behaviors}
    by_name = dict(headers)
    assert by_name.keys() == {
        "content-security-policy",
        "permissions-policy",
        "referrer-policy",
        "strict-transport-security",
        "x-content-type-options",
    }
    directives = dict(part.strip().split(" ", 1) for part in by_name["content-security-policy"].split(";"))
    assert directives.pop("default-src") == "'none'"
    assert {directives.pop(name) for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert directives.pop("img-src") == "'self' data:"
    assert directives.keys() == {"script-src", "style-src", "connect-src", "manifest-src"}
    assert set(directives.values()) == {"'self'"}


def test_security_headers_override_those_of_the_origin(stack: Resources) -> None:
    [policy] = of_type(stack, "AWS::CloudFront::ResponseHeadersPolicy").values()
    config = policy["ResponseHeadersPolicyConfig"]
    assert all(header["Override"] is True for header in config["SecurityHeadersConfig"].values())
    assert all(header["Override"] is True for header in config["CustomHeadersConfig"]["Items"])


def test_only_the_distribution_can_read_the_bucket(stack: Resources) -> None:
    [bucket] = of_type(stack, "AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    [policy] = of_type(stack, "AWS::S3::BucketPolicy").values()
    statements = policy["PolicyDocument"]["Statement"]
    assert {statement["Action"]: statement["Resource"] for statement in statements} == {
        "s3:GetObject": "<WebBucket.Arn>/*",
        "s3:ListBucket": "<WebBucket.Arn>",  # without it, a missing file is a 403 instead of a 404
    }
    for statement in statements:
        assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        distribution = "arn:aws:cloudfront::000000000000:distribution/<Distribution>"
        assert statement["Condition"] == {"StringEquals": {"AWS:SourceArn": distribution}}


@pytest.mark.parametrize("secret", ["short", "x" * 31, "x" * 129, "with space " * 4, "ünïcode" * 6])
def test_short_or_invalid_secret_is_refused(secret: str) -> None:
    parameter = SOURCE["Parameters"]["OriginSecret"]
    assert parameter["NoEcho"] is True
    assert not re.search(parameter["AllowedPattern"], secret)
