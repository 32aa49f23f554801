"""A function that is configured wrongly does not start, and says which variable is wrong."""

import pytest

from chat.settings import Settings, SettingsError

GOOD = {"TABLE_NAME": "chat", "AUTH_MODE": "iam", "URL_AUTH_TYPE": "AWS_IAM"}


def test_defaults() -> None:
    settings = Settings.from_environment({**GOOD, "ALLOWED_ORIGINS": "https://a.example, https://b.example"})
    assert settings.origins == {"https://a.example", "https://b.example"}
    assert settings.buffered_turn_seconds == 25


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"AUTH_MODE": "none"}, "AUTH_MODE"),
        ({"AUTH_MODE": ""}, "AUTH_MODE"),
        ({"URL_AUTH_TYPE": "NONE"}, "AuthType NONE needs AUTH_MODE jwt"),
        ({"AUTH_MODE": "jwt", "URL_AUTH_TYPE": "NONE"}, "jwt is not supported"),
        ({"TABLE_NAME": ""}, "TABLE_NAME"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
        ({"BUFFERED_TURN_SECONDS": "soon"}, "BUFFERED_TURN_SECONDS"),
        ({"MODEL_IDLE_SECONDS": "-1"}, "MODEL_IDLE_SECONDS"),
        ({"INFERENCE_PROFILE": "moon"}, "INFERENCE_PROFILE"),
        ({"ORIGIN_SECRET": "too-short"}, "ORIGIN_SECRET"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], names: str) -> None:
    with pytest.raises(SettingsError, match=names):
        Settings.from_environment({**GOOD, **change})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match=r"TABLE_NAME.*AUTH_MODE.*URL_AUTH_TYPE"):
        Settings.from_environment({})
