"""How an answer is got: which model, how often, and in one piece or streamed.

One attempt is one request that may be paid for. Another follows only while nothing of the answer has come and the
refusal was one that costs nothing; a request that timed out waiting for its headers is not repeated.
"""

import random
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from converse_stream.model import converters
from converse_stream.model import options as wishes
from converse_stream.model.catalog import Catalog, Model
from converse_stream.model.converters import ANSWER, Guardrail
from converse_stream.model.stream import ModelEnd, events
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts.prompt import Prompt, ToolSpec, lowest_tokens
from converse_stream.protocol import errors
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Part, Progress
from converse_stream.protocol.options import Options

ATTEMPTS = 3  # for each model
FIRST_PAUSE = 0.3  # seconds; doubled for each further attempt, with full jitter

_PASSES = (errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady)  # with time; asked for again


# Refusals that are answered by asking once more without it, and the capability that the model lacks then.
_LACKS: dict[type[errors.ModelError], str] = {
    errors.StreamingRefused: "stream",
    errors.ToolStreamingRefused: "tool_stream",
    errors.SystemPromptRefused: "system",
}


class ModelClient:
    """The models of this deployment, and what was learned about them since the environment started.

    Callers may name the `allowed` ones, and only those stand in for each other; without any, all.
    """

    def __init__(
        self, bedrock: Bedrock, catalog: Catalog, allowed: Collection[str] = (), guardrail: Guardrail | None = None
    ) -> None:
        self._bedrock = bedrock
        self._catalog = catalog
        self._allowed = frozenset(allowed or catalog.all_aliases)
        self._guardrail = guardrail
        self._refused: dict[str, frozenset[str]] = {}  # alias -> the capabilities that it turned out to lack

    @property
    def aliases(self) -> list[str]:
        """What callers may name and this region can call."""
        return sorted(alias for alias in self._allowed if alias in self._catalog)

    def refusal(self, alias: str) -> str:
        """Why a model that is not one of `aliases` cannot be used."""
        reason = self._catalog.unavailable_reason(alias) if alias in self._allowed else None
        return reason or f"model must be one of {', '.join(self.aliases)}."

    def __getitem__(self, alias: str) -> Model:
        """Raises BadRequest for an alias that is not listed."""
        return self._catalog[alias]

    def check(self, alias: str, options: Options, *, tools: Sequence[ToolSpec] = ()) -> None:
        """Raises BadRequest for a model that callers may not name, or options or tools that it does not take."""
        if alias not in self._allowed or alias not in self._catalog:
            raise BadRequest(self.refusal(alias), field="model")
        wishes.check(self._catalog[alias], options, tools=tools)

    def window(self, alias: str, options: Options) -> int:
        """Tokens that a prompt may have, so that whichever model answers has room to."""
        able = [self._catalog[each] for each in self._candidates(alias, options)]
        room = min(model.context_window - wishes.output_tokens(model, options) for model in able)
        return room - wishes.weight(options)

    def request(
        self, prompt: Prompt, alias: str, options: Options, *, stream: bool = True
    ) -> tuple[str, dict[str, Any]]:
        """What the model would be asked for this, by which of Bedrock's operations."""
        return self._request(prompt, self._able(alias, self._refused.get(alias, frozenset()), stream=stream), options)

    def answer(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool = True
    ) -> Generator[Part | Progress | ModelEnd, None, None]:
        """The answer's events, ending with Ended; with `stream` false the model is asked for one piece.

        Raises ModelError or Stopped. Where no fallback answers either, it is what the model that was asked for said: a
        fallback that the account may not use explains nothing.
        """
        refusals: list[errors.ModelError] = []
        for candidate in self._candidates(alias, options, prompt.tools):
            if refusals:
                yield Progress("fallback", candidate)
            for attempt in range(ATTEMPTS):
                try:
                    yield from self._attempt(prompt, candidate, options, call, stream=stream)
                    return
                except _Unpaid as failure:
                    passes = isinstance(failure.error, _PASSES)
                    if candidate == alias and not passes:
                        raise failure.error from None
                    refusals.append(failure.error)
                    if not passes:
                        break
                    if attempt + 1 < ATTEMPTS:
                        yield Progress("retry")
                        call.pause(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311  # jitter, not a secret
        raise refusals[0]

    def _candidates(self, alias: str, options: Options, tools: Sequence[ToolSpec] = ()) -> list[str]:
        fallbacks = [each for each in self._catalog[alias].fallbacks if each in self._catalog and each in self._allowed]
        return [alias, *(each for each in fallbacks if wishes.supports(self._catalog[each], options, tools=tools))]

    def _attempt(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool
    ) -> Iterator[Part | ModelEnd]:
        """One answer of one model; asked anew, once for each capability that it turns out to lack.

        An input that no way of counting can fit into its window is refused here, not sent there.
        """
        if lowest_tokens(prompt) > self._catalog[alias].context_window:
            raise _Unpaid(errors.ContextLengthExceeded())
        refused = self._refused.get(alias, frozenset())
        options = wishes.supported(self._catalog[alias], options)
        while True:
            model = self._able(alias, refused, stream=stream)
            begun = False
            try:
                with closing(self._events(prompt, model, options, call)) as answer:
                    for event in answer:
                        begun = True
                        if isinstance(event, ModelEnd):
                            # What a key of the caller's pays for costs the deployment nothing.
                            supported = wishes.served(options, event.latency, event.service_tier)
                            usage = event.usage if call.bedrock_key else model.priced(event.usage, supported)
                            event = replace(event, model=alias, usage=usage)
                        yield event
                self._refused[alias] = refused  # it answered, so what it refused is true
                return
            except errors.REFUSALS as refusal:
                if begun:
                    raise
                what = _LACKS.get(type(refusal))
                if what is None or what in refused or not getattr(model, what):
                    raise _Unpaid(refusal) from None
                refused = refused | {what}

    def _able(self, alias: str, refused: frozenset[str], *, stream: bool) -> Model:
        """The model without what it refused, and without streaming where that is not wanted."""
        without = refused if stream else refused | {"stream"}
        return self._catalog[alias].model_copy(update=dict.fromkeys(without, False))

    def _events(
        self, prompt: Prompt, model: Model, options: Options, call: Call
    ) -> Generator[Part | ModelEnd, None, None]:
        operation, request = self._request(prompt, model, options)
        answer_tool = ANSWER if options.answer_schema and not model.answer_schema else None
        guarded = self._guardrail is not None
        if operation == "Converse":
            whole = converters.as_stream(self._bedrock.converse(request, call))
            yield from events(whole, answer_tool=answer_tool, guarded=guarded)
            return
        with closing(self._bedrock.converse_stream(request, call)) as raw:
            yield from events(raw, answer_tool=answer_tool, guarded=guarded)

    def _request(self, prompt: Prompt, model: Model, options: Options) -> tuple[str, dict[str, Any]]:
        prompt = converters.with_answer_tool(prompt, model, options)
        request = converters.to_request(prompt, model, options, self._guardrail)
        return ("ConverseStream" if converters.streams(model, prompt) else "Converse"), request


class _Unpaid(Exception):
    """The attempt failed before anything came, with a refusal that costs nothing."""

    def __init__(self, error: errors.ModelError) -> None:
        super().__init__(error.code)
        self.error = error
