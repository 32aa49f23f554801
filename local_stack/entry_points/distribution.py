"""The CloudFront distribution of the template as typed values: origins, cache behaviors, headers and limits.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Headers = tuple[tuple[str, str], ...]
READ_SECONDS = 30.0  # of an origin that says nothing else


@dataclass(frozen=True)
class Behavior:
    """Requests for paths like `pattern` go to the origin of that id; `headers` are put on every answer."""

    pattern: str
    origin: str
    methods: frozenset[str]
    headers: Headers

    def fits(self, path: str) -> bool:
        """`*` stands for any characters, `?` for one; nothing else is special, and case counts."""
        pattern = re.escape(self.pattern).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, path, re.DOTALL) is not None


@dataclass(frozen=True)
class Origin:
    """`headers` are added to every request; `read_seconds` is the longest silence before and between its bytes."""

    headers: Headers
    read_seconds: float


@dataclass(frozen=True)
class Distribution:
    """`behaviors` in their order, the default last; `origins` by id.

    `error_seconds`: how long an error with that status is kept, where the configuration says so.
    """

    behaviors: tuple[Behavior, ...]
    origins: Mapping[str, Origin]
    error_seconds: Mapping[int, float]

    def behavior(self, path: str) -> Behavior:
        """The first that fits."""
        return next(each for each in self.behaviors if each.fits(path))


def distribution(config: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> Distribution:
    """From a DistributionConfig and the ResponseHeadersPolicyConfigs by their logical ids, all resolved."""
    headers = {name: _response_headers(policy) for name, policy in policies.items()}
    default = {**config["DefaultCacheBehavior"], "PathPattern": "*"}
    behaviors = tuple(
        Behavior(
            pattern=each["PathPattern"],
            origin=each["TargetOriginId"],
            methods=frozenset(each.get("AllowedMethods", ["GET", "HEAD"])),
            headers=headers.get(each.get("ResponseHeadersPolicyId", ""), ()),
        )
        for each in (*config.get("CacheBehaviors", []), default)
    )
    errors = {
        int(each["ErrorCode"]): float(each["ErrorCachingMinTTL"])
        for each in config.get("CustomErrorResponses", [])
        if "ErrorCachingMinTTL" in each
    }
    return Distribution(behaviors, {each["Id"]: _origin(each) for each in config["Origins"]}, errors)


def _origin(origin: Mapping[str, Any]) -> Origin:
    """An empty header is not sent: the local stack can run without the secret."""
    pairs = ((each["HeaderName"].lower(), each["HeaderValue"]) for each in origin.get("OriginCustomHeaders", []))
    seconds = float(origin.get("CustomOriginConfig", {}).get("OriginReadTimeout", READ_SECONDS))
    return Origin(tuple((name, value) for name, value in pairs if value), seconds)


def _response_headers(policy: Mapping[str, Any]) -> Headers:
    security = policy["SecurityHeadersConfig"]
    transport = security["StrictTransportSecurity"]
    subdomains = "; includeSubDomains" if transport.get("IncludeSubdomains") else ""
    return (
        ("content-security-policy", security["ContentSecurityPolicy"]["ContentSecurityPolicy"]),
        ("strict-transport-security", f"max-age={transport['AccessControlMaxAgeSec']}{subdomains}"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", security["ReferrerPolicy"]["ReferrerPolicy"]),
        *((each["Header"].lower(), each["Value"]) for each in policy["CustomHeadersConfig"]["Items"]),
    )
