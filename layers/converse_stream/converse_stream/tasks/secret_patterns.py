"""Recognizes passwords, keys, and numbers of cards and accounts in a folded text. Pure."""

import re

from converse_stream.tasks.folded_text import folded_pattern

# Words for a password in several languages, and those for "is" behind them.
_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)|\bpwd?|passwort|kennwort|mot de passe|contraseña|senha|palavra-passe|"
    r"parola d'ordine|wachtwoord|lösenord|adgangskode|passord|hasło|salasana|heslo|şifre|пароль|"
    r"(?:api|secret|access|private|licen[sc]e|recovery|backup|encryption|security)[ _-]?(?:key|token|code|phrase)|"
    r"seed phrase)s?"
)
_WHERE = (
    r"(?: (?:for|of|to|at|on|in|für|vom|von|beim|des|der|pour|de|du|del|dell|della|para|per|di|da|voor|van|do|для|от)\b"
    r"[^.:=]{1,40}?)?"
)
_IS = r"\s*(?:[:=]|\b(?:is|was|ist|lautet|war|est|es|era|é|è|jest|är|er|je)\b)\s*[\"'“]?\S"

KEYS = re.compile(
    r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[A-Z0-9]{12,}"  # AWS
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,}"  # OpenAI, Anthropic, Stripe
    r"|\bgh[opsur]_\w{16,}|\bgithub_pat_\w{10,}|\bglpat-[\w-]{16,}"
    r"|\bxox[a-z]-[\w-]{8,}|\bxapp-[\w-]{8,}"  # Slack
    r"|\bAIza[\w-]{20,}|\bya29\.[\w-]{10,}"  # Google
    r"|\b(?:hf|npm|shpat|dop_v1|pypi|whsec)[_-][A-Za-z0-9_-]{16,}"
    r"|\beyJ[\w-]{6,}\.[\w-]{4,}"  # JSON Web Tokens
    r"|-----\s*BEGIN\b"  # PEM
    # A word as long and mixed as a generated token.
    r"|(?<![\w/+])(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9_/+=-]{28,}"
)
PASSWORDS = folded_pattern(
    _NAMES + _WHERE + _IS,
    _NAMES + r"(?: [^\s.:=]{1,30}){1,6}\s*[:=]\s*\S",  # other words before a colon
    # "the password hunter2", "uses hunter2 as a password"
    _NAMES + r"\s+[\"'“]?(?=[^\s,;]*\d)(?=[^\s,;]*[a-z])[^\s,;]{6,}",
    r"\bas (?:a |the |an? \w+ |their |his |her |my )?(?:password|passphrase|passwort)\b",
    r"(?:密码|密碼|口令)\s*(?:是|为|為|:)\s*\S",
    r"パスワード\s*(?:は|:)\s*\S",
    r"비밀번호\s*(?:는|은|:)\s*\S",
    r"\bpin\b(?: (?:code|number))?(?: (?:for|of|to)\b[^.:=]{1,40}?)?(?:\s*[:=]|\s+is)?\s*\d{4,8}\b",
    r"\b(?:cvv|cvc|cv2)\d?\b\D{0,10}\d{3,4}\b",
    r"\b(?:ssn|social security(?: number)?)\b\D{0,10}\d{3}[ -]?\d{2}[ -]?\d{4}\b",
)
SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_CARD = re.compile(r"(?<![\d+])\d(?:[\s.\u2010-\u2015-]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[\s.\u2010-\u2015-]?[A-Za-z0-9]){11,40}")

# The length of an IBAN by country: https://www.swift.com/standards/data-standards/iban-international-bank-account-number
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE IL IQ TL OM SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def has_card(text: str) -> bool:
    """Whether the text has 13 to 19 digits with the check digit of a card."""
    return any(_passes_luhn([int(each) for each in match[0] if each.isdecimal()]) for match in _CARD.finditer(text))


def _passes_luhn(digits: list[int]) -> bool:
    """https://en.wikipedia.org/wiki/Luhn_algorithm"""
    doubled = [digit * 2 for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[::-2]) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def has_iban(text: str) -> bool:
    """Whether the text has a number of its country's length with the check digits of an IBAN."""
    for match in _IBAN.finditer(text):
        compact = re.sub(r"[\W_]", "", match[0]).upper()
        length = _IBAN_LENGTHS.get(compact[:2], 0)
        iban = compact[:length]
        is_whole = length and len(iban) == length and iban.isascii()
        if is_whole and int("".join(str(int(each, 36)) for each in iban[4:] + iban[:4])) % 97 == 1:
            return True
    return False
