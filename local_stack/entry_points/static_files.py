"""Serves the files of the demo page, and its configuration."""

import contextlib
import json
from pathlib import Path

from local_stack.http import Request, Responder

FOLDER = "/page/"  # of the page's files, here and in the deployment
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class StaticFiles:
    """Serves the folder `web`: its subfolder `demo` at `/page/`, and the other subfolders under their names.

    `/` is `demo/index.html`. `/page/config.json` is `{"functionUrl": ..., "apiUrl": ...}`, with `"tokenUrl"` if there
    is one. The URLs may be paths. A missing file is 404 if the caller may list the files (`listed`), otherwise 403, as
    in S3: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html ("Permissions")
    """

    def __init__(
        self, web: Path, function_url: str, api_url: str, token_url: str | None = None, *, listed: bool = True
    ) -> None:
        self._web = web.resolve()
        self._listed = listed
        token = {"tokenUrl": token_url} if token_url else {}
        self._config = json.dumps({"functionUrl": function_url, "apiUrl": api_url, **token}).encode()

    async def __call__(self, request: Request, responder: Responder) -> None:
        headers = [("cache-control", "no-store")]
        if request.method not in {"GET", "HEAD"}:
            await responder.send(405, [("allow", "GET, HEAD")])
        elif request.path == f"{FOLDER}config.json":
            await responder.send(200, [("content-type", "application/json"), *headers], self._config)
        elif file := self._file(request.path):
            content_type = CONTENT_TYPES.get(file.suffix, "application/octet-stream")
            await responder.send(200, [("content-type", content_type), *headers], file.read_bytes())
        else:
            status, reason = (404, b"NoSuchKey") if self._listed else (403, b"AccessDenied")
            await responder.send(status, [("content-type", "text/plain")], reason)

    def _file(self, path: str) -> Path | None:
        name = path if path != "/" else f"{FOLDER}index.html"
        relative = f"demo/{name.removeprefix(FOLDER)}" if name.startswith(FOLDER) else name.lstrip("/")
        file = (self._web / relative).resolve()
        with contextlib.suppress(OSError):  # the name is not valid on this file system
            if file.is_relative_to(self._web) and file.is_file():
                return file
        return None
