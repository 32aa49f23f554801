"""Settings: a wrong environment variable stops the start of a function, and the error names it."""

import pytest

from converse_stream.settings import Settings, SettingsError

GOOD = {"TABLE_NAME": "chat", "AUTH_MODE": "iam", "URL_AUTH_TYPE": "AWS_IAM"}


def test_unset_variables_have_their_defaults() -> None:
    settings = Settings.from_environment({**GOOD, "ALLOWED_ORIGINS": "https://a.example, https://b.example"})
    assert settings.origins == {"https://a.example", "https://b.example"}
    assert settings.buffered_turn_seconds == 25


@pytest.mark.parametrize(
    ("change", "expected_error"),
    [
        ({"AUTH_MODE": "none"}, "AUTH_MODE"),
        ({"AUTH_MODE": ""}, "AUTH_MODE"),
        ({"URL_AUTH_TYPE": "NONE"}, "AuthType NONE needs AUTH_MODE jwt"),
        ({"AUTH_MODE": "jwt", "URL_AUTH_TYPE": "NONE"}, "JWT_ISSUER and JWT_AUDIENCE"),
        ({"AUTH_MODE": "jwt", "JWT_ISSUER": "https://issuer.example"}, "JWT_ISSUER and JWT_AUDIENCE"),
        ({"JWT_ISSUER": "http://issuer.example"}, "JWT_ISSUER"),
        ({"JWT_ISSUER": "http://localhost:80@issuer.example"}, "JWT_ISSUER"),
        ({"JWKS_URL": "file:///etc/passwd"}, "JWKS_URL"),
        ({"JWT_ALGORITHMS": "none"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": "RS256,HS256"}, "JWT_ALGORITHMS"),
        ({"JWT_ALGORITHMS": ""}, "JWT_ALGORITHMS"),
        ({"TABLE_NAME": ""}, "TABLE_NAME"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
        ({"BUFFERED_TURN_SECONDS": "soon"}, "BUFFERED_TURN_SECONDS"),
        ({"MODEL_IDLE_SECONDS": "-1"}, "MODEL_IDLE_SECONDS"),
        ({"INFERENCE_PROFILE": "moon"}, "INFERENCE_PROFILE"),
        ({"ORIGIN_SECRET": "too-short"}, "ORIGIN_SECRET"),
        ({"GUARDRAIL_ID": "abc"}, "GUARDRAIL_ID and GUARDRAIL_VERSION go together"),
        ({"GUARDRAIL_VERSION": "latest"}, "GUARDRAIL_VERSION"),
    ],
)
def test_error_names_the_wrong_variable(change: dict[str, str], expected_error: str) -> None:
    with pytest.raises(SettingsError, match=expected_error):
        Settings.from_environment({**GOOD, **change})


COUNTS = [name for name, field in Settings.model_fields.items() if field.annotation is int]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    ("text", "value"), [("1e2", 100), ("1E+2", 100), ("30.0", 30), ("30", 30), ("2.5", 3), ("0.5", 1), ("1e-9", 1)]
)
def test_count_accepts_every_form_of_a_number_and_is_rounded_up(name: str, text: str, value: int) -> None:
    """CloudFormation accepts all these forms for a Number. 0 is not a result: it means no limit, or for ever."""
    assert getattr(Settings.from_environment({**GOOD, name.upper(): text}), name) == value


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("text", ["-0.5", "-1", "", "many", "nan", "inf", "1e999999999", "1,5"])
def test_invalid_count_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name.upper()}: "):
        Settings.from_environment({**GOOD, name.upper(): text})


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
def test_float_setting_keeps_its_fraction(name: str) -> None:
    assert getattr(Settings.from_environment({**GOOD, name.upper(): "0.25"}), name) == 0.25
    for text in ("nan", "inf", "-0.25"):
        with pytest.raises(SettingsError, match=f"^{name.upper()}: "):
            Settings.from_environment({**GOOD, name.upper(): text})


def test_algorithms_are_those_of_the_variable() -> None:
    jwt_settings = {"AUTH_MODE": "jwt", "JWT_ISSUER": "http://127.0.0.1:8789/_local/issuer", "JWT_AUDIENCE": "chat"}
    assert Settings.from_environment({**GOOD, **jwt_settings}).algorithms == ("RS256",)
    assert Settings.from_environment({**GOOD, **jwt_settings, "JWT_ALGORITHMS": "ES256,EdDSA"}).algorithms == (
        "ES256",
        "EdDSA",
    )


def test_labels_may_have_spaces_around_their_commas() -> None:
    settings = Settings.from_environment({**GOOD, "CLASSIFY_LABELS": "billing, lost luggage ,other"})
    assert settings.labels == ("billing", "lost luggage", "other")


def test_patterns_are_separated_by_new_lines_or_two_semicolons() -> None:
    settings = Settings.from_environment({**GOOD, "NEVER_LEARN_PATTERNS": "project x;;\\bemp-\\d+ \n\n a{2};"})
    assert [pattern.pattern for pattern in settings.never_learn] == ["project x", "\\bemp-\\d+", "a{2};"]
    assert settings.never_learn[0].search("PROJECT X")
    assert Settings.from_environment(GOOD).never_learn == ()


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("[a-z", "pattern 1 is not"),
        ("a;;(b", "pattern 2 is not"),
        ("a;;b*", "pattern 2 matches every text"),
        ("x" * 1_001, "at most 1000 characters"),
    ],
)
def test_invalid_pattern_is_refused_by_name_and_number(patterns: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=f"^NEVER_LEARN_PATTERNS: .*{expected}"):
        Settings.from_environment({**GOOD, "NEVER_LEARN_PATTERNS": patterns})


def test_error_names_the_missing_variables() -> None:
    with pytest.raises(SettingsError, match=r"TABLE_NAME.*AUTH_MODE.*URL_AUTH_TYPE"):
        Settings.from_environment({})
