"""Gets an answer from a model: chooses the model, adapts the request, streams or not, retries, and uses fallbacks.

An attempt is one request, which may be billed. It is repeated only if no part of the answer has arrived and the error
is one that is not billed. A request that timed out before its response headers is not repeated.
"""

import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import reduce
from typing import Any

from converse_stream.model import converters
from converse_stream.model import options as model_options
from converse_stream.model.adaptation import Adapted, adapt
from converse_stream.model.allowed import AllowedModels
from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import Catalog
from converse_stream.model.converters import ANSWER, RequestSettings
from converse_stream.model.refusals import learned, left_out, without
from converse_stream.model.stream import NOVA_REASONING, ModelEnd, events
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts.prompt import Prompt, ToolSpec, lowest_tokens
from converse_stream.prompts.reasoning import has_reasoning, without_reasoning
from converse_stream.protocol import errors
from converse_stream.protocol.errors import BadRequest, Capability
from converse_stream.protocol.events import Part, Progress
from converse_stream.protocol.options import Options

ATTEMPTS = 3  # of each model
FIRST_PAUSE = 0.3  # seconds; doubled for each further attempt, with full jitter

_REASONING_DETAILS = "messages.reasoning_details"
_TEMPORARY = (errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady)  # errors that are retried


class ModelClient:
    """The models of this deployment, and the capabilities that this environment has found them to lack.

    Callers may use the `allowed` models, and only these are used as fallbacks.
    """

    def __init__(
        self,
        bedrock: Bedrock,
        catalog: Catalog,
        allowed: AllowedModels,
        request_settings: RequestSettings = RequestSettings(),  # noqa: B008  # immutable
    ) -> None:
        self._bedrock = bedrock
        self._catalog = catalog
        self._allowed = allowed
        self._request_settings = request_settings
        self._missing: dict[str, tuple[Capability, ...]] = {}  # by the id of the model

    @property
    def names(self) -> list[str]:
        """The models that callers may use and that can be called from this region."""
        return list(self._allowed)

    def __getitem__(self, name: str) -> Model:
        """The model with the capabilities that it was not found to lack. Raises KeyError if it cannot be called."""
        model = self._catalog[name]
        return reduce(without, self._missing.get(model.id, ()), model)

    def allows(self, name: str) -> bool:
        """Whether callers may use the model, and it can be called from this region."""
        return name in self._allowed

    def check_allowed(self, name: str) -> None:
        """Raises ModelNotAllowed if callers may not use the model; the message lists the models that they may use."""
        if name not in self._allowed:
            reason = self._catalog.unavailable_reason(name) if self._allowed.names(name) else None
            raise errors.ModelNotAllowed(reason or f"model must be one of {', '.join(self.names)}.", field="model")

    def check(self, name: str, options: Options, *, tools: Sequence[ToolSpec] = (), prefill: str = "") -> None:
        """Raises ModelNotAllowed, and BadRequest if the model cannot answer with the options, tools or prefill."""
        self.check_allowed(name)
        model_options.check(self[name], options, tools=tools, prefill=prefill)

    def window(self, name: str, options: Options) -> int:
        """The most tokens of a prompt, such that the model and each of its fallbacks has room for an answer."""
        models = [self[each] for each in self._candidates(name, options)]
        window = min(model.context_window - model_options.output_tokens(model, options) for model in models)
        return window - model_options.extra_prompt_tokens(options)

    def adapted(self, prompt: Prompt, name: str, options: Options) -> Adapted:
        """The request as this model gets it, with what was changed."""
        return self._adapted(prompt, self[name], options)

    def request(
        self, prompt: Prompt, name: str, options: Options, *, stream: bool = True
    ) -> tuple[str, dict[str, Any]]:
        """Bedrock's operation and the request that would be sent for this prompt."""
        model = _streaming_if(self[name], stream=stream)
        adapted = self._adapted(prompt, model, options)
        return self._request(adapted, model)

    def answer(
        self, prompt: Prompt, name: str, options: Options, call: Call, *, stream: bool = True
    ) -> Generator[Part | Progress | ModelEnd, None, None]:
        """The events of the answer; the last one is `ModelEnd`. If `stream` is false, the model does not stream.

        Raises ModelError or Cancelled. If the fallbacks fail too, the first error of the requested model is raised: the
        error of a fallback, for example one that the account may not use, would not help the caller.
        """
        failures: list[errors.ModelError] = []
        for candidate in self._candidates(name, options, prompt.tools, prompt.prefill):
            if failures:
                yield Progress("fallback", candidate)
            told: set[str] = set()
            for attempt in range(ATTEMPTS):
                try:
                    yield from self._attempt(prompt, candidate, options, call, told, stream=stream)
                    return
                except _NotBilled as failure:
                    is_temporary = isinstance(failure.error, _TEMPORARY)
                    if candidate == name and not is_temporary and not isinstance(failure.error, errors.UNUSABLE):
                        raise failure.error from None
                    failures.append(failure.error)
                    if not is_temporary:
                        break
                    if attempt + 1 < ATTEMPTS:
                        yield Progress("retry")
                        call.pause(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311  # jitter, not a secret
        raise failures[0]

    def _candidates(self, name: str, options: Options, tools: Sequence[ToolSpec] = (), prefill: str = "") -> list[str]:
        """The model and its fallbacks that can answer with these tools and this kind of answer."""
        model = self[name]
        fallbacks = [each for each in model.fallbacks if each in self._allowed]
        return [name, *(each for each in fallbacks if self._can_replace(model, each, options, tools, prefill))]

    def _can_replace(self, model: Model, name: str, options: Options, tools: Sequence[ToolSpec], prefill: str) -> bool:
        """Whether a fallback can answer, with the options adapted to it. Its price must be known if the model's is."""
        if model.price and not self[name].price:
            return False
        without_limits = options.model_copy(update={"max_tokens": None, "service_tier": None, "latency": None})
        try:
            model_options.check(self[name], without_limits, tools=tools, prefill=prefill)
        except BadRequest:
            return False
        return True

    def _attempt(
        self, prompt: Prompt, name: str, options: Options, call: Call, told: set[str], *, stream: bool
    ) -> Iterator[Part | Progress | ModelEnd]:
        """One answer of one model. The request is repeated without each capability that the model is found to lack.

        A prompt that is larger than the context window by any token count is refused without a request. `told` has what
        the caller was already told.
        """
        original = self._catalog[name]
        if lowest_tokens(prompt) > original.context_window:
            raise _NotBilled(errors.ContextLengthExceeded())
        missing = self._missing.get(original.id, ())
        while True:
            model = _streaming_if(reduce(without, missing, original), stream=stream)
            adapted = self._adapted(prompt, model, options)
            for change in (*adapted.changes, *left_out(missing, prompt, options)):
                if change not in told:
                    told.add(change)
                    yield Progress("adapted", change)
            has_event = False
            try:
                with closing(self._events(adapted, model, call)) as answer:
                    for event in answer:
                        if not has_event:  # the model answers, so it lacks only these
                            self._missing[original.id] = reduce(learned, missing, self._missing.get(original.id, ()))
                        has_event = True
                        yield self._with_cost(event, name, model, adapted.options, call)
                return
            except errors.REFUSALS as refusal:
                if has_event:
                    raise
                capability = refusal.capability if isinstance(refusal, errors.CapabilityRefused) else None
                if capability == "signed_reasoning" and has_reasoning(prompt):
                    # Not learned: the blocks of this caller do not fit this prompt, for example after an edit.
                    prompt = without_reasoning(prompt)
                    told.add(_REASONING_DETAILS)
                    yield Progress("adapted", _REASONING_DETAILS)
                    continue
                if capability is None or learned(missing, capability) == missing:
                    raise _NotBilled(_named(refusal, name)) from None
                missing = learned(missing, capability)

    def _with_cost(
        self, event: Part | ModelEnd, name: str, model: Model, options: Options, call: Call
    ) -> Part | ModelEnd:
        """The event. The end gets the name of the model, and the usage its cost."""
        if not isinstance(event, ModelEnd):
            return event
        applied = model_options.applied(options, event.latency, event.service_tier)
        # A request with its own Bedrock key costs the deployment nothing.
        usage = event.usage
        if not call.bedrock_key:
            usage = model.priced(usage, applied, long_cache_writes=event.long_cache_writes)
        return replace(event, model=name, usage=usage)

    def _adapted(self, prompt: Prompt, model: Model, options: Options) -> Adapted:
        return adapt(model, converters.with_answer_format(prompt, model, options), options)

    def _events(self, adapted: Adapted, model: Model, call: Call) -> Generator[Part | ModelEnd, None, None]:
        operation, request = self._request(adapted, model)
        has_schema = adapted.options.answer_schema is not None
        how: dict[str, Any] = {
            "model": model.base_id,
            "answer_tool": ANSWER if has_schema and model.structured_output == "forced-tool" else None,
            "placeholder": NOVA_REASONING if model.thinking and model.thinking.style == "nova" else None,
            "fenced": has_schema and model.structured_output == "prompt",
            "guarded": self._request_settings.guardrail is not None,
        }
        if operation == "Converse":
            yield from events(converters.as_stream(self._bedrock.converse(request, call)), **how)
            return
        with closing(self._bedrock.converse_stream(request, call)) as raw:
            yield from events(raw, **how)

    def _request(self, adapted: Adapted, model: Model) -> tuple[str, dict[str, Any]]:
        request = converters.to_request(adapted.prompt, model, adapted.options, self._request_settings)
        return ("ConverseStream" if converters.streams(model, adapted.prompt) else "Converse"), request


class _NotBilled(Exception):
    """The attempt failed before the first event, with an error that is not billed."""

    def __init__(self, error: errors.ModelError) -> None:
        super().__init__(error.code)
        self.error = error


def _streaming_if(model: Model, *, stream: bool) -> Model:
    """The model, without streaming if `stream` is false."""
    return model if stream or not model.streaming else replace(model, streaming=False)


def _named(error: errors.ModelError, name: str) -> errors.ModelError:
    """The error, with the name of the model in its message if the model cannot be used at all."""
    return type(error)(f"{name}: {error.default}") if isinstance(error, errors.UNUSABLE) else error
