"""`python -m local_stack.token USER`: a token for that user, signed by the stack that runs with `--auth jwt`."""

import argparse
import json
import sys
import urllib.error
import urllib.request


class NoToken(Exception):
    """Why there is none, and what to do."""


def ask(port: int, user: str) -> str:
    """A token of the stack whose one host is on `port`. Raises NoToken."""
    body = json.dumps({"user": user}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local/token", body, timeout=10) as answer:
            token: str = json.load(answer)["token"]
            return token
    except urllib.error.HTTPError as error:
        raise NoToken("the stack asks for no tokens; start it with: make run AUTH=jwt") from error
    except OSError as error:
        raise NoToken(f"no stack runs on port {port}; start one with: make run AUTH=jwt") from error


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m local_stack.token", description=__doc__)
    parser.add_argument("--port", type=int, default=8787, help="the stack's one host")
    parser.add_argument("user")
    given = parser.parse_args(arguments)
    try:
        print(ask(given.port, given.user))
    except NoToken as error:
        print(f"token: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
