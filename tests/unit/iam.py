"""What IAM checks for a call of a model, and whether a list of ARNs with wildcards permits it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from local_stack.bedrock.models import split

ACCOUNT = "123456789012"


def resources(model_id: str, region: str, partition: str = "aws", account: str = ACCOUNT) -> list[str]:
    """The ARNs that a call of this id or ARN needs.

    A call with an inference profile also needs the foundation model: in this region, in each region to which the
    profile routes, and for a global profile without a region.
    """
    if model_id.startswith("arn:"):
        kind, _, model_id = model_id.split(":", 5)[-1].partition("/")
        if kind not in {"foundation-model", "inference-profile"}:
            return [f"arn:{partition}:bedrock:{region}:{account}:{kind}/{model_id}"]
    profile, model = split(model_id)
    foundation_model = f"arn:{partition}:bedrock:{region}::foundation-model/{model}"
    if not profile:
        return [foundation_model]
    elsewhere = [f"arn:{partition}:bedrock:{place}::foundation-model/{model}" for place in ("elsewhere-1", "")]
    return [f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{model_id}", foundation_model, *elsewhere]


def permits(patterns: Iterable[str], arn: str) -> bool:
    """Whether one of the patterns matches the ARN. `*` at the end of a part also matches the parts after it."""
    return any(fnmatchcase(arn, pattern) for pattern in patterns)
