"""The document of the feature flags, cached for a minute. If the source fails or is slow, the old one stays valid."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.feature_flags import (
    AppConfigStore,
    ConfigurationStoreError,
    FeatureFlags,
    SchemaValidator,
    StoreProvider,
)

from converse_stream.aws import deadlines
from converse_stream.settings import Settings
from converse_stream.telemetry import logger

FRESH_SECONDS = 60.0  # until the document is requested again
RETRY_SECONDS = 10.0  # the same after a failure
REFRESH_SECONDS = 0.3  # how long a request waits for a refresh; as long as for the lookups of the memory


def source(settings: Settings) -> FeatureFlags:
    """Returns the flags of Powertools, from the file or the AppConfig profile in the settings."""
    if settings.flags_file:
        path = Path(settings.flags_file)
        return FeatureFlags(CachedDocument(lambda: json.loads(path.read_text(encoding="utf-8"))))
    return FeatureFlags(CachedDocument(AppConfig(settings).fetch))


class AppConfig:
    """A configuration profile of AWS AppConfig."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = deadlines.client("appconfigdata", REFRESH_SECONDS)
        self._store = self._session()

    def fetch(self) -> dict[str, Any]:
        """Returns the current document. Raises the errors of Powertools."""
        try:
            return self._store.get_configuration()
        except Exception:
            self._store = self._session()  # the session may have expired: it is valid for a day
            raise

    def _session(self) -> AppConfigStore:
        return AppConfigStore(
            environment=self._settings.appconfig_environment,
            application=self._settings.appconfig_application,
            name=self._settings.appconfig_profile,
            max_age=0,
            boto3_client=self._client,
        )


class CachedDocument(StoreProvider):
    """The last valid document that `fetch` returned. Powertools' own cache drops it when it expires.

    A caller waits for a refresh for `REFRESH_SECONDS` at most. A document that comes later is used for later requests.
    `clock` is the wall clock, because the monotonic clock stops while the sandbox is frozen.
    """

    def __init__(self, fetch: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._document: dict[str, Any] | None = None
        self._pending: Future[dict[str, Any]] | None = None
        self._refresh_after = clock()

    @property
    def get_raw_configuration(self) -> dict[str, Any]:
        """See StoreProvider."""
        return self.get_configuration()

    def get_configuration(self) -> dict[str, Any]:
        """Returns the last valid document. Raises ConfigurationStoreError if there was none yet."""
        with self._lock:
            if self._clock() >= self._refresh_after or (self._pending and self._pending.done()):
                self._refresh()
            if self._document is None:
                raise ConfigurationStoreError
            return self._document

    def _refresh(self) -> None:
        pending = self._pending or self._begin_fetch()
        wait([pending], REFRESH_SECONDS)
        self._pending = None if pending.done() else pending
        try:
            document = pending.result(0)
            SchemaValidator(document).validate()
            self._document, pause = document, FRESH_SECONDS
        except Exception as error:  # the document may be wrong in any way: the old one stays
            logger.warning("feature flags not refreshed", extra={"reason": type(error).__name__})
            pause = RETRY_SECONDS
        self._refresh_after = self._clock() + pause

    def _begin_fetch(self) -> Future[dict[str, Any]]:
        pool = ThreadPoolExecutor(1, "flags")
        pending = pool.submit(self._fetch)
        pool.shutdown(wait=False)  # the thread ends when `fetch` returns
        return pending
