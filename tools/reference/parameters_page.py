"""Generates docs/reference/parameters.md: parameters, rules and outputs of the template, and variables of functions."""

from collections.abc import Iterable, Mapping
from typing import Any

from tools.reference import product, template
from tools.reference.markdown import code, link, page, paired, sentence, table
from tools.reference.schemas import Schemas

INTRODUCTION = """\
Set parameters in `parameter_overrides` of samconfig.toml, or with `make deploy PARAMETERS="Name=value"`. The local
stack uses the same defaults, `--parameter Name=value` changes one. A parameter without an entry keeps its default on
a new stack and its last value on a stack that exists."""

RULES = "CloudFormation refuses a deployment whose parameters do not fit together, with one of these messages:"

VARIABLES = """\
These settings of the functions have no parameter. To change one, add the variable under
`Globals.Function.Environment.Variables` in template.yaml. The local stack reads it there too. The functions do not
start with a value that is not allowed; the log then names the variable."""

FIXED = """\
The template sets these variables itself, not from a parameter of the same meaning. Lambda and boto3 set and read
further ones."""

# Settings that have no parameter.
SETTINGS = {
    "COLD_MEMORY_MILLISECONDS": "`MemoryMilliseconds` where connections may have to be opened first.",
    "DEADLINE_MARGIN_SECONDS": "Seconds before the function's timeout at which an answer ends, to be stored.",
    "FLAGS_FILE": "A file with feature flags, used instead of AppConfig.",
    "HISTORY_MESSAGES": "Messages of the conversation in a prompt.",
    "MAX_ANSWER_BYTES": "Size of an answer, in bytes. A longer answer ends with `length`.",
    "MAX_BODY_BYTES": "Size of a request body, in bytes; `/v1` and `/ai` have limits of their own.",
    "MAX_COMPLETION_BYTES": "Size of a request body on `/v1`, in bytes.",
    "MAX_CONTINUED_BYTES": "Size of a stored answer that `continue` accepts, in bytes.",
    "MAX_FACTS": "Facts of a user.",
    "MAX_FACT_CHARS": "Length of a fact, in characters.",
    "MAX_MESSAGE_CHARS": "Length of a message, in characters.",
}

# Variables that the template sets without a parameter.
SET_BY_TEMPLATE = {
    "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": "Address of Bedrock's knowledge bases, for tests. Empty is AWS's own.",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "Address of Bedrock, for tests. Empty is AWS's own.",
    "AWS_ENDPOINT_URL_DYNAMODB": "Address of DynamoDB, for tests. Empty is AWS's own.",
    "AWS_LAMBDA_EXEC_WRAPPER": "Starts the streaming runtime instead of Lambda's own.",
    "BUFFERED_TURN_SECONDS": "Longest answer in one piece, in seconds. API Gateway stops waiting after 30 s.",
    "POWERTOOLS_METRICS_NAMESPACE": "Namespace of the metrics in CloudWatch.",
    "POWERTOOLS_SERVICE_NAME": "Dimension of the metrics, and `service` in the log.",
    "REST_STREAMING": "`1` if there is a REST API that streams.",
    "TABLE_NAME": "The table.",
    "TASK_FUNCTION": "The function that runs tasks.",
}


def text() -> str:
    """Return the text of the page."""
    groups = [part for label, names in template.groups() for part in (f"## {label}", _parameters(names))]
    return page(
        "Parameters",
        INTRODUCTION,
        "\n".join(f"- {link(label, label)}" for label, _ in template.groups()),
        *groups,
        "## Rules",
        RULES,
        "\n".join(f"- {sentence(rule)}" for rule in template.rules()),
        "## Outputs",
        _outputs(template.outputs()),
        "## Variables without a parameter",
        VARIABLES,
        _settings(),
        "## Variables that the template sets",
        FIXED,
        _fixed(),
    )


def _parameters(names: Iterable[str]) -> str:
    declared = template.parameters()
    rows = []
    for name in names:
        parameter = declared[name]
        empty = parameter["Default"] == ""
        rows.append(
            (
                code(name),
                "empty" if empty else code(parameter["Default"]),
                allowed(parameter),
                sentence(parameter.get("Description", "")),
            )
        )
    return table(("parameter", "default", "allowed", "description"), rows)


def allowed(parameter: Mapping[str, Any]) -> str:
    """Return the allowed values of a parameter as text."""
    several = "list of " if parameter["Type"] == "CommaDelimitedList" else ""
    if "AllowedValues" in parameter:
        return several + ", ".join("empty" if each == "" else code(each) for each in parameter["AllowedValues"])
    if "AllowedPattern" in parameter:
        return several + code(parameter["AllowedPattern"])
    if "MinLength" in parameter:
        return f"{parameter['MinLength']} to {parameter['MaxLength']} characters"
    if "MaxValue" in parameter:
        return f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
    return f"at least {parameter['MinValue']:,}" if "MinValue" in parameter else parameter["Type"].lower()


def _outputs(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(code(name), sentence(output.get("Description", ""))) for name, output in outputs.items()]
    return table(("output", "description"), rows)


def _settings() -> str:
    """Return a table of the settings that the template does not set."""
    fields = {name.upper(): name for name in product.Settings.model_fields}
    missing = fields.keys() - template.variables().keys()
    names = sorted(name for name in missing if not name.startswith("AWS_"))  # Lambda sets AWS_*
    texts = paired(SETTINGS, names, "parameters_page.SETTINGS")
    described, types = product.Settings.model_json_schema()["properties"], Schemas({}, {})
    rows = []
    for name in names:
        schema = {**described[fields[name]]}
        value = schema.pop("default")
        rows.append((code(name), "empty" if value == "" else code(value), types.type(schema), texts[name]))
    return table(("variable", "default", "allowed", "description"), rows)


def _fixed() -> str:
    """Return a table of the variables that the template sets without a parameter."""
    found = {name: each for name, each in template.variables().items() if template.parameter_of(each[1]) is None}
    texts = paired(SET_BY_TEMPLATE, found, "parameters_page.SET_BY_TEMPLATE")
    rows = []
    for name, (function, value) in sorted(found.items()):
        shown = "computed" if isinstance(value, dict) else "empty" if value == "" else code(value)
        rows.append((code(name), "both" if function == "both" else code(function), shown, texts[name]))
    return table(("variable", "function", "value", "description"), rows)
