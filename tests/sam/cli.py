"""Prints what the SAM CLI reads from a template or from command lines, as JSON. Runs in the SAM CLI's virtualenv.

`environment TEMPLATE PARAMETERS [ENV_FILE]`: each function's environment variables in a `sam local` container.
`options LINES`: the options of `sam` for each list of arguments, including those of samconfig.toml.
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
    env_file_values = InvokeContext._get_env_vars_value(env_file)
    functions = SamFunctionProvider(stacks)
    runner = LocalLambdaRunner(None, functions, ".", ".", env_vars_values=env_file_values)
    return {function.name: runner._make_env_vars(function).resolve() for function in functions.get_all()}


def options(lines: str) -> list[dict[str, Any]]:
    return [parsed(arguments) for arguments in json.loads(lines)]


def parsed(arguments: list[str]) -> dict[str, Any]:
    command: click.Command = cli
    context = command.make_context("sam", arguments)
    while isinstance(command, click.Group):
        name, subcommand, remaining = command.resolve_command(context, [*context.protected_args, *context.args])
        assert subcommand is not None
        command = subcommand
        context = command.make_context(name, remaining, parent=context)
    return context.params


if __name__ == "__main__":
    programs: dict[str, Callable[..., Any]] = {"environment": environment, "options": options}
    sys.stdout.write(json.dumps(programs[sys.argv[1]](*sys.argv[2:]), default=str))
