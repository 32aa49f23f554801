"""`python -m local_stack.token USER`: prints a token for this user, from a stack that runs with `--auth jwt`."""

import argparse
import json
import sys
import urllib.error
import urllib.request


class TokenError(Exception):
    """The stack gives no token. The message says why, and what to do."""


def request_token(port: int, user: str) -> str:
    """Return a token from the stack whose web host is on `port`. Raises TokenError."""
    body = json.dumps({"user": user}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local/token", body, timeout=10) as response:
            token: str = json.load(response)["token"]
            return token
    except urllib.error.HTTPError as error:
        raise TokenError("the stack does not use tokens; start it with: make run AUTH=jwt") from error
    except OSError as error:
        raise TokenError(f"no stack runs on port {port}; start one with: make run AUTH=jwt") from error


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m local_stack.token", description=__doc__)
    parser.add_argument("--port", type=int, default=8787, help="port of the stack's web host")
    parser.add_argument("user")
    given = parser.parse_args(arguments)
    try:
        print(request_token(given.port, given.user))
    except TokenError as error:
        print(f"token: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
