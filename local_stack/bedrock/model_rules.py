"""Checks a request against what its model accepts: place, lifecycle, limits, sampling, content, tools and caching.

The messages are Bedrock's, from the reports that the comments name. Rules of reasoning: `thinking_rules.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local_stack.bedrock import errors
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json
from local_stack.bedrock.models import GLOBAL, SOURCES, Cache, ListedModel, find, is_claude, split

_SAMPLING = {"temperature": "temperature", "topP": "top_p", "top_k": "top_k"}


def check_available(model_id: str, region: str | None, models: Mapping[str, ListedModel]) -> None:
    """Raises BedrockError if the model cannot be called by this id from `region`. None is any region."""
    model = find(model_id, models)
    profile, name = split(model_id)
    if model.lifecycle.status == "END_OF_LIFE":
        raise errors.end_of_life()
    if not profile:
        if model.in_region is not None and (not model.in_region or (region and region not in model.in_region)):
            raise profile_needed(name)
    elif model.profiles is not None and (profile not in model.profiles or not _reaches(profile, region)):
        # The message for a profile that the region does not have: langgenius/dify-official-plugins issue 2948.
        raise errors.invalid("The provided model identifier is invalid.")
    if model.lifecycle.closed:
        raise errors.legacy()


def check_request(operation: str, model_id: str, body: Json, tokens: int, models: Mapping[str, ListedModel]) -> None:
    """Raises BedrockError for a request that this model refuses. `tokens` is the length of the input."""
    model = find(model_id, models)
    _check_limits(model_id, model, body, tokens)
    _check_sampling(model_id, model, body)
    _check_content(model, body)
    _check_tools(operation, model, body)
    _check_cache(model_id, model.cache, body)
    _check_serving(model, body)
    if body.get("system") and not model.system:
        raise errors.invalid(errors.SYSTEM_REFUSED)
    if not model.prefill and body["messages"][-1]["role"] == "assistant":
        # anomalyco/opencode issue 29760
        raise errors.model_error(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def profile_needed(name: str) -> BedrockError:
    """Return the error for a model without an inference profile, as in cline/cline issue 689.

    The apostrophe is Bedrock's.
    """
    return errors.invalid(
        f"Invocation of model ID {name} with on-demand throughput isn’t supported. "  # noqa: RUF001  # Bedrock's text
        "Retry your request with the ID or ARN of an inference profile that contains this model.",
    )


def too_long(model_id: str, tokens: int, window: int) -> BedrockError:
    """Return the error for an input above the context window. `tokens` and `window` are in tokens.

    The message of Claude is that of its API; many clients search for it. The message of the other models:
    continuedev/continue issue 6005, aws-samples/bedrock-chat issue 95.
    """
    if is_claude(model_id):
        return errors.model_error(f"prompt is too long: {tokens} tokens > {window} maximum")
    return errors.model_error("Input is too long for requested model.")


def content_blocks(body: Json) -> Iterator[tuple[str, Json]]:
    """Yield each block with its place in Claude's words, in the order in which a model reads them."""
    for number, tool in enumerate(body.get("toolConfig", {}).get("tools", [])):
        yield f"tools.{number}", tool
    for number, block in enumerate(body.get("system", [])):
        yield f"system.{number}", block
    for position, message in enumerate(body["messages"]):
        for index, block in enumerate(message["content"]):
            yield f"messages.{position}.content.{index}", block


def _check_limits(model_id: str, model: ListedModel, body: Json, tokens: int) -> None:
    if model.window is not None and tokens > model.window:
        raise too_long(model_id, tokens, model.window)
    limit = body.get("inferenceConfig", {}).get("maxTokens", 0)
    if model.output is not None and limit > model.output:
        # langgenius/dify issue 10390
        raise errors.invalid(
            f"The maximum tokens you requested exceeds the model limit of {model.output}. "
            f"Try again with a maximum tokens value that is lower than {model.output}."
        )


def _check_sampling(model_id: str, model: ListedModel, body: Json) -> None:
    """Check temperature, topP and top_k. Bedrock may accept a value that is the default; the emulator refuses it."""
    fields = body.get("additionalModelRequestFields") or {}
    given = {**body.get("inferenceConfig", {}), **{name: fields[name] for name in ("top_k",) if name in fields}}
    for name, reported in _SAMPLING.items():
        if model.sampling == "refused" and name in given:
            raise errors.model_error(f"`{reported}` is deprecated for this model.")  # cline/cline issue 10572
    if model.sampling == "exclusive" and "temperature" in given and "topP" in given:
        # BerriAI/litellm issue 15070
        raise errors.model_error(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )
    if "top_k" in fields and "amazon.nova" in model_id:  # UKGovernmentBEIS/inspect_ai issue 3939
        raise errors.malformed("#: extraneous key [top_k] is not permitted")


def _check_content(model: ListedModel, body: Json) -> None:
    """Check images, documents and videos, also those in tool results.

    The message for images: earendil-works/pi issue 8960. That of the other kinds is a guess by analogy.
    """
    for message in body["messages"]:
        for block in message["content"]:
            nested = block.get("toolResult", {}).get("content", [])
            for kind in ("image", "document", "video", "audio"):
                refused = kind in block and kind not in model.inputs
                if refused or any(kind in each and not _accepts_in_result(model, kind) for each in nested):
                    raise errors.invalid(
                        f"This model doesn't support the {kind} field for {message['role']} messages. "
                        f"Remove {kind} and try again."
                    )


def _accepts_in_result(model: ListedModel, kind: str) -> bool:
    return kind in model.inputs and (model.result_images or kind != "image")


def _check_tools(operation: str, model: ListedModel, body: Json) -> None:
    if "toolConfig" not in body:
        return
    if operation == "ConverseStream" and not model.tool_streaming:
        raise errors.invalid(errors.TOOL_STREAMING_REFUSED)
    forced = body["toolConfig"].get("toolChoice", {}).keys() & {"any", "tool"}
    if forced and model.forced_tools == "refused":
        # can1357/oh-my-pi issue 12939, vercel/ai issue 21364
        raise errors.model_error('tool_choice: type "tool" and "any" are not supported for this model.')


def _check_cache(model_id: str, cache: Cache | None, body: Json) -> None:
    """Check that the model has cache points with these lifetimes, and that no lifetime follows a shorter one."""
    shorter = False
    before = ""
    for where, block in content_blocks(body):
        point: Any = block.get("cachePoint")
        if point is not None:
            if cache is None:
                # strands-agents/harness-sdk pull request 1807, posit-dev/positron issue 12142
                raise BedrockError(
                    "AccessDeniedException",
                    "You invoked an unsupported model or your request did not allow prompt caching. "
                    "See the documentation for more information.",
                )
            ttl = point.get("ttl", "5m")
            if ttl not in cache.ttls:
                raise _ttl_refused(model_id, before)
            if ttl == "1h" and shorter:
                # Portkey-AI/gateway issue 1762
                raise errors.model_error(
                    f"{before}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                    "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, "
                    "`messages`."
                )
            shorter = shorter or ttl == "5m"
        before = where


def _ttl_refused(model_id: str, where: str) -> BedrockError:
    """Return the error for a model without this lifetime: earendil-works/pi pull request 1570."""
    if is_claude(model_id):
        return errors.model_error(f"{where}.cache_control.ttl: Extra inputs are not permitted")
    return errors.invalid("Extended TTL prompt caching is only supported for Anthropic models")


def _check_serving(model: ListedModel, body: Json) -> None:
    """Check the latency and the service tier. A model without a price accepts them."""
    price = model.price
    if price is None:
        return
    if body.get("performanceConfig", {}).get("latency") == "optimized" and price.optimized is None:
        raise errors.invalid("Latency performance configuration is not supported for this model.")
    tier = body.get("serviceTier", {}).get("type", "default")
    if tier != "default" and tier not in price.tiers:
        raise errors.invalid("The provided service tier is not supported for this model.")


def _reaches(profile: str, region: str | None) -> bool:
    if region is None:
        return True
    if profile == GLOBAL:
        return not region.startswith("us-gov-")  # all commercial regions
    return region.startswith(SOURCES[profile])
