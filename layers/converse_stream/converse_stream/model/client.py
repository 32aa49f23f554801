"""Gets an answer from a model: chooses the model, streams or not, retries, and uses fallbacks.

An attempt is one request, which may be billed. It is repeated only if no part of the answer has arrived and the error
is one that is not billed. A request that timed out before its response headers is not repeated.
"""

import random
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from converse_stream.model import converters
from converse_stream.model import options as model_options
from converse_stream.model.catalog import Catalog, Model
from converse_stream.model.converters import ANSWER, Guardrail
from converse_stream.model.stream import ModelEnd, events
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts.prompt import Prompt, ToolSpec, lowest_tokens
from converse_stream.protocol import errors
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Part, Progress
from converse_stream.protocol.options import Options

ATTEMPTS = 3  # of each model
FIRST_PAUSE = 0.3  # seconds; doubled for each further attempt, with full jitter

_TEMPORARY = (errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady)  # errors that are retried


# Errors that show that a model lacks a capability. The request is repeated without it.
_MISSING_CAPABILITY: dict[type[errors.ModelError], str] = {
    errors.StreamingRefused: "stream",
    errors.ToolStreamingRefused: "tool_stream",
    errors.SystemPromptRefused: "system",
}


class ModelClient:
    """The models of this deployment, and the capabilities that this environment has found them to lack.

    Callers may use the `allowed` models, and only these are used as fallbacks; empty allows all.
    """

    def __init__(
        self, bedrock: Bedrock, catalog: Catalog, allowed: Collection[str] = (), guardrail: Guardrail | None = None
    ) -> None:
        self._bedrock = bedrock
        self._catalog = catalog
        self._allowed = frozenset(allowed or catalog.all_aliases)
        self._guardrail = guardrail
        self._missing: dict[str, frozenset[str]] = {}  # alias -> missing capabilities

    @property
    def aliases(self) -> list[str]:
        """The models that callers may use and that can be called from this region."""
        return sorted(alias for alias in self._allowed if alias in self._catalog)

    def refusal(self, alias: str) -> str:
        """The error message for a model that is not one of `aliases`."""
        reason = self._catalog.unavailable_reason(alias) if alias in self._allowed else None
        return reason or f"model must be one of {', '.join(self.aliases)}."

    def __getitem__(self, alias: str) -> Model:
        """Raises BadRequest for an alias that is not listed."""
        return self._catalog[alias]

    def check(self, alias: str, options: Options, *, tools: Sequence[ToolSpec] = ()) -> None:
        """Raises BadRequest if callers may not use the model, or if it does not support the options or tools."""
        if alias not in self._allowed or alias not in self._catalog:
            raise BadRequest(self.refusal(alias), field="model")
        model_options.check(self._catalog[alias], options, tools=tools)

    def window(self, alias: str, options: Options) -> int:
        """The most tokens of a prompt, such that the model and each of its fallbacks has room for an answer."""
        models = [self._catalog[each] for each in self._candidates(alias, options)]
        window = min(model.context_window - model_options.output_tokens(model, options) for model in models)
        return window - model_options.extra_prompt_tokens(options)

    def request(
        self, prompt: Prompt, alias: str, options: Options, *, stream: bool = True
    ) -> tuple[str, dict[str, Any]]:
        """Bedrock's operation and the request that would be sent for this prompt."""
        return self._request(
            prompt, self._without(alias, self._missing.get(alias, frozenset()), stream=stream), options
        )

    def answer(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool = True
    ) -> Generator[Part | Progress | ModelEnd, None, None]:
        """The events of the answer; the last one is `ModelEnd`. If `stream` is false, the model does not stream.

        Raises ModelError or Cancelled. If the fallbacks fail too, the first error of the requested model is raised: the
        error of a fallback, for example one that the account may not use, would not help the caller.
        """
        failures: list[errors.ModelError] = []
        for candidate in self._candidates(alias, options, prompt.tools):
            if failures:
                yield Progress("fallback", candidate)
            for attempt in range(ATTEMPTS):
                try:
                    yield from self._attempt(prompt, candidate, options, call, stream=stream)
                    return
                except _NotBilled as failure:
                    is_temporary = isinstance(failure.error, _TEMPORARY)
                    if candidate == alias and not is_temporary:
                        raise failure.error from None
                    failures.append(failure.error)
                    if not is_temporary:
                        break
                    if attempt + 1 < ATTEMPTS:
                        yield Progress("retry")
                        call.pause(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311  # jitter, not a secret
        raise failures[0]

    def _candidates(self, alias: str, options: Options, tools: Sequence[ToolSpec] = ()) -> list[str]:
        fallbacks = [each for each in self._catalog[alias].fallbacks if each in self._catalog and each in self._allowed]
        return [
            alias,
            *(each for each in fallbacks if model_options.supports(self._catalog[each], options, tools=tools)),
        ]

    def _attempt(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool
    ) -> Iterator[Part | ModelEnd]:
        """One answer of one model. The request is repeated once for each capability that the model is found to lack.

        A prompt that is larger than the context window by any token count is refused without a request.
        """
        if lowest_tokens(prompt) > self._catalog[alias].context_window:
            raise _NotBilled(errors.ContextLengthExceeded())
        missing = self._missing.get(alias, frozenset())
        options = model_options.supported(self._catalog[alias], options)
        while True:
            model = self._without(alias, missing, stream=stream)
            has_event = False
            try:
                with closing(self._events(prompt, model, options, call)) as answer:
                    for event in answer:
                        has_event = True
                        if isinstance(event, ModelEnd):
                            # A request with its own Bedrock key costs the deployment nothing.
                            applied = model_options.applied(options, event.latency, event.service_tier)
                            usage = event.usage if call.bedrock_key else model.priced(event.usage, applied)
                            event = replace(event, model=alias, usage=usage)
                        yield event
                self._missing[alias] = missing  # the model answered, so it lacks only these
                return
            except errors.REFUSALS as refusal:
                if has_event:
                    raise
                capability = _MISSING_CAPABILITY.get(type(refusal))
                if capability is None or capability in missing or not getattr(model, capability):
                    raise _NotBilled(refusal) from None
                missing = missing | {capability}

    def _without(self, alias: str, missing: frozenset[str], *, stream: bool) -> Model:
        """The model without its missing capabilities, and without streaming if `stream` is false."""
        disabled = missing if stream else missing | {"stream"}
        return self._catalog[alias].model_copy(update=dict.fromkeys(disabled, False))

    def _events(
        self, prompt: Prompt, model: Model, options: Options, call: Call
    ) -> Generator[Part | ModelEnd, None, None]:
        operation, request = self._request(prompt, model, options)
        answer_tool = ANSWER if options.answer_schema and not model.answer_schema else None
        guarded, name = self._guardrail is not None, converters.model_name(model)
        if operation == "Converse":
            raw_events = converters.as_stream(self._bedrock.converse(request, call))
            yield from events(raw_events, model=name, answer_tool=answer_tool, guarded=guarded)
            return
        with closing(self._bedrock.converse_stream(request, call)) as raw:
            yield from events(raw, model=name, answer_tool=answer_tool, guarded=guarded)

    def _request(self, prompt: Prompt, model: Model, options: Options) -> tuple[str, dict[str, Any]]:
        prompt = converters.with_answer_tool(prompt, model, options)
        request = converters.to_request(prompt, model, options, self._guardrail)
        return ("ConverseStream" if converters.streams(model, prompt) else "Converse"), request


class _NotBilled(Exception):
    """The attempt failed before the first event, with an error that is not billed."""

    def __init__(self, error: errors.ModelError) -> None:
        super().__init__(error.code)
        self.error = error
