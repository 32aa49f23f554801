"""How an answer is got: which model, how often, and in one piece or streamed.

One attempt is one request that may be paid for. Another follows only while nothing of the answer has come and the
refusal was one that costs nothing; a request that timed out waiting for its headers is not repeated.
"""

import random
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace

from chat import errors
from chat.events import Part, Progress
from chat.model import converters
from chat.model.catalog import Catalog, Model
from chat.model.stream import Ended, events
from chat.model.transport import Bedrock, Call
from chat.prompts.prompt import Prompt
from chat.requests import Options

ATTEMPTS = 3  # for each model
FIRST_PAUSE = 0.3  # seconds; doubled for each further attempt, with full jitter

_COSTS_NOTHING = (errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady)


class Models:
    """The models of this deployment, and what was learned about them since the environment started."""

    def __init__(self, bedrock: Bedrock, catalog: Catalog) -> None:
        self._bedrock = bedrock
        self._catalog = catalog
        self._refused: dict[str, frozenset[str]] = {}  # alias -> what it refused: "stream", "system"

    @property
    def aliases(self) -> list[str]:
        """What callers may name."""
        return sorted(self._catalog)

    def __getitem__(self, alias: str) -> Model:
        """Raises BadRequest for an alias that is not listed."""
        return self._catalog[alias]

    def check(self, alias: str, options: Options) -> None:
        """Raises BadRequest for an unknown alias or options that the model does not have."""
        converters.check_options(self._catalog[alias], options)

    def answer(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool = True
    ) -> Generator[Part | Progress | Ended, None, None]:
        """The answer's events, ending with Ended; with `stream` false the model is asked for one piece.

        Raises ModelError or Stopped.
        """
        aliases = [alias, *(each for each in self._catalog[alias].fallbacks if each in self._catalog)]
        for number, candidate in enumerate(aliases, 1):
            for attempt in range(ATTEMPTS):
                try:
                    yield from self._attempt(prompt, candidate, options, call, stream=stream)
                    return
                except _Unpaid as failure:
                    if attempt + 1 < ATTEMPTS:
                        yield Progress("retry")
                        call.pause(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311  # jitter, not a secret
                    elif number == len(aliases):
                        raise failure.error from None
            yield Progress("fallback", aliases[number])

    def _attempt(
        self, prompt: Prompt, alias: str, options: Options, call: Call, *, stream: bool
    ) -> Iterator[Part | Ended]:
        """One answer of one model; asked anew, once for each, when it refuses to stream or a system prompt."""
        refused = self._refused.get(alias, frozenset())
        while True:
            without = refused if stream else refused | {"stream"}
            model = self._catalog[alias].model_copy(update=dict.fromkeys(without, False))
            begun = False
            try:
                with closing(self._events(prompt, model, options, call)) as answer:
                    for event in answer:
                        begun = True
                        if isinstance(event, Ended):
                            event = replace(event, model=alias, usage=model.priced(event.usage))
                        yield event
                self._refused[alias] = refused  # it answered, so what it refused is true
                return
            except (errors.StreamingRefused, errors.SystemPromptRefused) as refusal:
                what = "stream" if isinstance(refusal, errors.StreamingRefused) else "system"
                if begun or what in refused or not getattr(model, what):
                    raise
                refused = refused | {what}
            except _COSTS_NOTHING as error:
                if begun:
                    raise
                raise _Unpaid(error) from None

    def _events(
        self, prompt: Prompt, model: Model, options: Options, call: Call
    ) -> Generator[Part | Ended, None, None]:
        options = converters.granted(model, options)
        request = converters.to_request(prompt, model, self._catalog.model_id(model), options)
        if not model.stream:
            yield from events(converters.as_stream(self._bedrock.converse(request, call)))
            return
        with closing(self._bedrock.converse_stream(request, call)) as raw:
            yield from events(raw)


class _Unpaid(Exception):
    """The attempt failed before anything came, with a refusal that costs nothing."""

    def __init__(self, error: errors.ModelError) -> None:
        super().__init__(error.code)
        self.error = error
