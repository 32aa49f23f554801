"""What the SAM CLI reads from a template or a command line, as JSON. It runs in the SAM CLI's environment.

`environment TEMPLATE PARAMETERS [ENV_FILE]`: each function's environment as `sam local` gives it to a container.
`options LINES`: what `sam` makes of each list of arguments: its options, those of samconfig.toml among them.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from samcli.cli.main import cli
from samcli.commands.local.cli_common.invoke_context import InvokeContext
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider


def environment(template: str, parameters: str, env_file: str = "") -> dict[str, dict[str, str]]:
    stacks, _ = SamLocalStackProvider.get_stacks(template, parameter_overrides=json.loads(parameters))
    given = InvokeContext._get_env_vars_value(env_file)
    functions = SamFunctionProvider(stacks)
    runner = LocalLambdaRunner(None, functions, ".", ".", env_vars_values=given)
    return {function.name: runner._make_env_vars(function).resolve() for function in functions.get_all()}


def options(lines: str) -> list[dict[str, Any]]:
    return [parsed(arguments) for arguments in json.loads(lines)]


def parsed(arguments: list[str]) -> dict[str, Any]:
    command: click.Command = cli
    context = command.make_context("sam", arguments)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context.protected_args, *context.args])
        assert found is not None
        command = found
        context = command.make_context(name, rest, parent=context)
    return context.params


if __name__ == "__main__":
    programs: dict[str, Callable[..., Any]] = {"environment": environment, "options": options}
    sys.stdout.write(json.dumps(programs[sys.argv[1]](*sys.argv[2:]), default=str))
