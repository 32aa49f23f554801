"""Where the flags' document comes from. It is kept for a minute, and outlives a store that fails, hangs or is slow."""

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

FRESH_SECONDS = 60.0  # seconds until the document is asked for again
RETRY_SECONDS = 10.0  # the same after a failure
REFRESH_SECONDS = 0.3  # that a refresh is waited for, as long as for a memory lookup beside it


def source(settings: Settings) -> FeatureFlags:
    """Flags by Powertools' rules, from the file or the AppConfig profile of the settings."""
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
        """The document as it is now. Raises what Powertools makes of a failure."""
        try:
            return self._store.get_configuration()
        except Exception:
            self._store = self._session()  # the old one may be what is wrong: unused for a day, it is over
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
        self._coming: Future[dict[str, Any]] | None = None
        self._again = clock()

    @property
    def get_raw_configuration(self) -> dict[str, Any]:
        """See StoreProvider."""
        return self.get_configuration()

    def get_configuration(self) -> dict[str, Any]:
        """The newest document that there was. Raises ConfigurationStoreError while there never was one."""
        with self._lock:
            if self._clock() >= self._again or (self._coming and self._coming.done()):
                self._refresh()
            if self._document is None:
                raise ConfigurationStoreError
            return self._document

    def _refresh(self) -> None:
        coming = self._coming or self._begun()
        wait([coming], REFRESH_SECONDS)
        self._coming = None if coming.done() else coming
        try:
            document = coming.result(0)
            SchemaValidator(document).validate()
            self._document, pause = document, FRESH_SECONDS
        except Exception as error:  # whatever is wrong with it, what is known must go on to count
            logger.warning("the flags did not come", extra={"reason": type(error).__name__})
            pause = RETRY_SECONDS
        self._again = self._clock() + pause

    def _begun(self) -> Future[dict[str, Any]]:
        pool = ThreadPoolExecutor(1, "flags")
        coming = pool.submit(self._fetch)
        pool.shutdown(wait=False)  # its thread ends with the document
        return coming
