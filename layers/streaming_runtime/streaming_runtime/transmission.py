"""The streamed post of one invocation. Another thread can end it."""

from threading import Lock

from .post import StreamedPost

LOCK_SECONDS = 0.3  # how long the other thread waits for a write, which blocks while the client is slow


class TransmissionEnded(Exception):
    """Another thread has ended the response."""


class Transmission:
    """Opens its connection with the first bytes. The methods raise TransmissionEnded and PostError."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = Lock()
        self._post: StreamedPost | None = None
        self._ended = False

    @property
    def started(self) -> bool:
        return self._post is not None

    @property
    def ended(self) -> bool:
        return self._ended

    def send(self, data: bytes) -> None:
        """Sends bytes of the request. Blocks while the client is slow."""
        with self._lock:
            if self._ended:
                raise TransmissionEnded
            (self._post or self._opened()).send(data)

    def finish(self, data: bytes) -> None:
        """Sends the last bytes, and returns when the Runtime API has accepted the response."""
        with self._lock:
            self._check()
            self._ended = True
            self._opened().finish(data)

    def interrupt(self) -> bool:
        """Takes the response from the thread that sends it, at most once. False if that thread is blocked.

        If it returns True, only the caller may send, with `finish_interrupted`.
        """
        self._check()
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            return False
        try:
            self._check()
            self._ended = True
        finally:
            self._lock.release()
        return True

    def finish_interrupted(self, data: bytes) -> None:
        """Sends the last bytes after `interrupt`."""
        self._opened().finish(data)

    def close(self) -> None:
        if self._post:
            self._post.close()

    def _check(self) -> None:
        if self._ended:
            raise TransmissionEnded

    def _opened(self) -> StreamedPost:
        if self._post is None:
            self._post = StreamedPost(self._address)
        return self._post
