"""A CloudFront distribution of the template as typed values: which path goes where, and with which headers.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Headers = tuple[tuple[str, str], ...]


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
class Distribution:
    """`behaviors` in their order, the default last; `origins`: id of an origin -> headers that it gets."""

    behaviors: tuple[Behavior, ...]
    origins: Mapping[str, Headers]

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
    return Distribution(behaviors, {each["Id"]: _origin_headers(each) for each in config["Origins"]})


def _origin_headers(origin: Mapping[str, Any]) -> Headers:
    """An empty one is not sent: on the laptop the secret may be left out."""
    pairs = ((each["HeaderName"].lower(), each["HeaderValue"]) for each in origin.get("OriginCustomHeaders", []))
    return tuple((name, value) for name, value in pairs if value)


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
