"""The ARNs that a deployment calls: the value of the parameter ModelArns. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html: a call with an inference profile
also needs the foundation model, in each region to which the profile routes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from converse_stream.model.allowed import AllowedModels
from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import Catalog, Fields
from converse_stream.model.identifiers import GEOGRAPHIES, is_arn, profiles_of, split_profile

# Resources other than models and profiles of AWS. A caller may name their ARNs if a pattern matches them.
_OWN_KINDS = ("application-inference-profile", "provisioned-model", "imported-model", "custom-model-deployment")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The parameters of a deployment that decide which models it calls. `account` may be `*`."""

    default_model: str
    task_model: str
    allowed_models: tuple[str, ...]
    inference_profile: str
    region: str
    account: str = "*"
    partition: str = "aws"
    overrides: Mapping[str, Fields] = field(default_factory=dict)


class UncallableModelError(Exception):
    """The default or the task model cannot be called in the region, or a name is no model. The message names it."""


def arns(deployment: Deployment) -> list[str]:
    """The ARNs of all foundation models and inference profiles that the functions call, fallbacks included, sorted.

    Patterns of `allowed_models` stay patterns. Raises UncallableModelError.
    """
    catalog = Catalog(deployment.inference_profile, deployment.region, deployment.overrides)
    needed = (deployment.default_model, deployment.task_model)
    for name in (*needed, *(name for name in deployment.allowed_models if "*" not in name)):
        reason = catalog.unavailable_reason(name)
        if name not in catalog and (name in needed or reason is None):
            raise UncallableModelError(reason or f"{name} is no alias, no model id and no ARN.")
    allowed = AllowedModels(catalog, deployment.allowed_models, deployment.default_model)
    found: set[str] = set()
    for name in (*allowed, deployment.task_model):
        found |= set(_of_model(catalog[name], deployment))
    for pattern in deployment.allowed_models:
        if "*" in pattern:
            found |= set(_of_pattern(pattern, deployment))
    return sorted(arn for arn in found if not _is_covered(arn, found))


def without_known_model(deployment: Deployment) -> list[str]:
    """The ARNs among the names whose foundation models are not known: add these to the list by hand.

    An application inference profile needs its foundation model too; `like` in the overrides names it.
    """
    names = (deployment.default_model, deployment.task_model, *deployment.allowed_models)
    profiles = [name for name in names if is_arn(name) and ":application-inference-profile/" in name]
    return sorted({name for name in profiles if "like" not in deployment.overrides.get(name, {})})


def _of_model(model: Model, deployment: Deployment) -> Iterator[str]:
    if is_arn(model.id):
        yield model.id
        if is_arn(model.base_id):
            like = deployment.overrides.get(model.base_id, {}).get("like")
            if like and ":application-inference-profile/" in model.id:
                yield _foundation_model(Catalog("none", deployment.region).entry(like).base_id, deployment)
            return
    elif model.id != model.base_id:
        yield _profile(model.id, deployment)
    yield _foundation_model(model.base_id, deployment)


def _of_pattern(pattern: str, deployment: Deployment) -> Iterator[str]:
    """The ARNs of a pattern for ids. The part before its first `*` tells whether it begins with a profile."""
    if is_arn(pattern):
        yield pattern
        return
    profile, model = split_profile(pattern)
    if profile:
        yield _profile(pattern, deployment)
        yield _foundation_model(model, deployment)
        return
    start = pattern.partition("*")[0]
    may_begin_profile = "." not in start and any(geography.startswith(start) for geography in GEOGRAPHIES)
    yield _foundation_model("*" if start and may_begin_profile else pattern, deployment)
    if may_begin_profile:
        yield _profile(pattern, deployment)
    for each in profiles_of(deployment.inference_profile, deployment.region):
        if each != "none":
            yield _profile(f"{each}.{pattern}", deployment)
    own = (_arn(deployment, f"{deployment.region}:{deployment.account}", f"{kind}/*") for kind in _OWN_KINDS)
    yield from (arn for arn in own if fnmatchcase(arn, pattern))


def _foundation_model(model_id: str, deployment: Deployment) -> str:
    return _arn(deployment, "*:", f"foundation-model/{model_id}")


def _profile(profile_id: str, deployment: Deployment) -> str:
    return _arn(deployment, f"{deployment.region}:{deployment.account}", f"inference-profile/{profile_id}")


def _arn(deployment: Deployment, place: str, resource: str) -> str:
    return f"arn:{deployment.partition}:bedrock:{place}:{resource}"


def _is_covered(arn: str, others: Iterable[str]) -> bool:
    return any(other != arn and fnmatchcase(arn, other) for other in others)
