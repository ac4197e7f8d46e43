"""Secrets: by their published formats, by what they are assigned to, and by their value where this process knows it."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipelines.emails import RESERVED
from pipelines.publishing.leaks.reading import (
    ACCESS_TOKEN,
    PRIVATE_KEY,
    QUOTE,
    URL_PASSWORD,
    Span,
    is_bounded,
)
from pipelines.text_search import back, places


def known_secrets() -> dict[str, str]:
    """Secrets of this process -> what they are called: environment variables, and the token of `hf auth login`."""
    from huggingface_hub import get_token

    known = {}
    for name, value in os.environ.items():
        value = value.strip()
        if not _SECRET_NAME.search(name.upper()) or _NAME_OF_A_PLACE.search(name.upper()):
            continue
        if len(value) >= 8 and not value.startswith(("/", "~")) and not _WORD.fullmatch(value):
            known[value] = name
    token = get_token()
    if token is not None and len(token) >= 8:
        known.setdefault(token, "your Hugging Face token")
    return known


_SECRET_NAME = re.compile(r"TOKEN(?!S|IZER)|SECRET|PASSWORD|API_?KEY")
_NAME_OF_A_PLACE = re.compile(r"_(?:FILE|PATH|DIR|URL|URI|HOST)$")
# Values that are no secret, and would be found in every other text.
_WORD = re.compile(r"(?i)(?:pass_?word|postgres|change_?me|disabled|required|optional|localhost|\*+|x+)\d?")


# ---------------------------------------------------------------- formats


class Format(NamedTuple):
    """A published format of a secret: what it begins with, and how it goes on."""

    name: str
    prefixes: tuple[str, ...]
    rest: re.Pattern[str]


def _format(name: str, prefixes: str, rest: str) -> Format:
    return Format(name, tuple(prefixes.split()), re.compile(rest, re.ASCII))


_GITLAB = "glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct-"
# Those without a source are in gitleaks (config/gitleaks.toml at commit b58d3f1, July 2026), made looser.
_FORMATS = (
    # https://huggingface.co/docs/hub/security-tokens; those of OAuth are JSON web tokens behind a prefix
    _format("Hugging Face token", "hf_ api_org_", r"[A-Za-z0-9]{30,}"),
    _format("Hugging Face token", "hf_oauth_eyJ hf_jwt_eyJ", r"[\w.-]{20,}"),
    # https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
    _format("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{36,}"),
    _format("GitHub token", "github_pat_", r"\w{40,}"),
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    _format("GitLab token", _GITLAB, r"[\w-]{20,}"),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html; documented ones end in EXAMPLE
    _format("AWS access key", "AKIA ASIA ABIA ACCA", r"(?!\w*EXAMPLE\b)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    _format("AWS Bedrock key", "ABSK", r"[A-Za-z0-9+/]{100,}={0,2}"),
    _format("Google API key", "AIza", r"[\w-]{35}(?!\w)"),
    # https://developers.google.com/identity/protocols/oauth2
    _format("Google OAuth secret", "GOCSPX-", r"[\w-]{28}"),
    _format("Google OAuth token", "ya29.", r"[\w-]{20,}"),
    # https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string: 64 bytes in base 64
    _format("Azure storage key", "AccountKey=", r"[A-Za-z0-9+/]{86}=="),
    # https://learn.microsoft.com/rest/api/storageservices/create-service-sas: an HMAC-SHA256 in base 64
    _format("Azure signature", "sig=", r"(?:[A-Za-z0-9+/]|%2[BbFf]){43}(?:=|%3[Dd])"),
    _format("OpenAI key", "sk-", r"[A-Za-z0-9]{32,}"),
    _format("OpenAI key", "sk-proj- sk-svcacct- sk-admin- sk-None-", r"[\w-]{20,}"),
    _format("Anthropic key", "sk-ant-", r"[\w-]{20,}"),
    # https://openrouter.ai/docs/api-reference/authentication
    _format("OpenRouter key", "sk-or-v1-", r"[0-9a-f]{64}"),
    # https://github.com/huggingface/lerobot/issues/2762; older ones: _NAMED
    _format("Weights & Biases key", "wandb_v1_", r"\w{40,}"),
    # https://docs.slack.dev/authentication/tokens
    _format("Slack token", "xoxa- xoxb- xoxc- xoxd- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs-", r"[A-Za-z0-9.-]{20,}"),
    _format("Slack token", "xapp-", r"\d-[A-Z0-9]{8,}-\d+-[a-z0-9]{16,}"),
    _format("Slack webhook", "hooks.slack.com/", r"(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,}"),
    # https://docs.stripe.com/keys
    _format("Stripe key", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", r"[A-Za-z0-9]{16,}"),
    _format("Stripe webhook secret", "whsec_", r"[A-Za-z0-9+/]{32,}"),
    # https://github.com/Kaggle/kaggle-api; older ones: _NAMED
    _format("Kaggle token", "KGAT_", r"[0-9a-f]{32}"),
    # RFC 7519: header and content are JSON objects, which begin with eyJ in base 64
    _format("JSON web token", "eyJ", r"[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _format("Databricks token", "dapi", r"[0-9a-f]{32}(?![A-Za-z0-9])"),
    _format("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", r"[0-9a-f]{64}"),
    # https://console.groq.com/docs, https://docs.smith.langchain.com, https://replicate.com/docs
    _format("Groq key", "gsk_", r"[A-Za-z0-9]{40,}"),
    _format("LangSmith key", "lsv2_pt_ lsv2_sk_", r"[0-9a-f]{32}_[0-9a-f]{10}"),
    _format("Replicate token", "r8_", r"[A-Za-z0-9]{37}(?![A-Za-z0-9])"),
    # https://docs.neptune.ai: a JSON object in base 64 that begins with api_address
    _format("Neptune token", "eyJhcGlfYWRkcmVzcyI6", r"[\w+/-]{30,}=*"),
    _format("npm token", "npm_", r"[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _format("Notion token", "ntn_", r"[A-Za-z0-9]{40,}"),
    _format("Perplexity key", "pplx-", r"[A-Za-z0-9]{48}"),
    _format("PyPI token", "pypi-AgE", r"[\w-]{50,}"),
    _format("SendGrid key", "SG.", r"[\w-]{22}\.[\w-]{43}"),
    _format("age secret key", "AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
)

# What every secret of a format is part of: a text is searched for some eighty prefixes only in the few that it has.
_RUN = re.compile(r"[A-Za-z0-9_.=/%+-]{20,}")

_KEY_WORD = r"(?:api_?key|key|login|password|relogin|token|user)"
_BETWEEN = r"""[\s"'`:=,()\[\]{}<>|-]{1,8}"""
# Secrets without a format, told by the words before them: name, lowercase word to look for, expression from there on.
_NAMED = tuple(
    (name, word, re.compile(expression, re.IGNORECASE))
    for name, word, expression in (
        # 40 hexadecimal digits, as are commits of git. https://docs.wandb.ai; ~/.netrc has "login user password ..."
        (
            "Weights & Biases key",
            "wandb",
            rf"wandb(?:\.ai|[_.]?{_KEY_WORD}){{0,3}}(?:{_BETWEEN}{_KEY_WORD}){{0,4}}{_BETWEEN}(?:local-)?"
            r"(?P<secret>[0-9a-f]{40})(?![0-9a-z])",
        ),
        # kaggle.json: https://github.com/Kaggle/kaggle-api
        (
            "Kaggle key",
            '"username"',
            r'"username"\s*:\s*"[^"\n]*"\s*,\s*"key"\s*:\s*"(?P<secret>[0-9a-f]{32})"',
        ),
        ("Kaggle key", "kaggle_key", r"kaggle_key\W{1,5}(?P<secret>[0-9a-f]{32})(?![0-9a-z])"),
        ("Azure client secret", "q~", r"(?<=[\w~.]{3}\d)(?P<secret>(?-i:Q)~[\w~.-]{31,34})(?![\w~.-])"),
    )
)

# RFC 7468, OpenSSH and PGP; without a line of base 64 behind it, it is a mention of one.
_PEM = re.compile(
    r"(-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)"
    r"""(?:\\[nr]|[\s"'+,]|[A-Z][\w-]+: [^\n\r\\]{0,80}+){0,40}+[A-Za-z0-9+/]{40}"""
)
_PUTTY = re.compile(r"PuTTY-User-Key-File-\d(?=: )")

_USER_INFO = re.compile(r"""://([^\s/:@"'`<>()\[\]{}?#|]*):([^\s/@"'`<>()\[\]{}|\\]{2,})@([\w.-]+)""")
_SCHEME = re.compile(r"[A-Za-z0-9+.-]")
_PLACEHOLDER = re.compile(
    r"(?i)^[$%*]|^(?:my|your|the|some)?[_-]?(?:pass|password|passwd|passphrase|pwd|pw|secret|token|api_?key|key|tiger|"
    r"repo)\d{0,2}$|example|placeholder|dummy|redacted|hidden|xxxx|your[_-]|\.\.\.|\*\*\*"
)

# What a secret is assigned to -> least length of its value.
_ASSIGNED_WORDS = {
    **dict.fromkeys(("token", "secret", "credential", "api_key", "api-key", "api key", "apikey"), 16),
    **dict.fromkeys(("access_key", "accesskey", "account_key", "auth_key", "client_key", "private_key"), 16),
    **dict.fromkeys(("password", "passwd", "passphrase", "pwd"), 8),
}
_VALUE = r"""(?P<value>[A-Za-z0-9_+/=.~!@#%^*$-]{8,512})(?=["'`\s,;)}\]<&\\]|$)"""
_ASSIGNED = re.compile(
    rf"(?i)(?:[_-]?(?:key|value))?(?:{QUOTE}|\])?\s{{0,3}}(?::=|=>|={{1,3}}|:)\s{{0,3}}[bru]{{0,2}}{QUOTE}?{_VALUE}"
)
_FLAG = re.compile(rf"(?i)(?:[_-]?(?:key|value))?[\s=]{QUOTE}?{_VALUE}")
_BEARER = re.compile(r"(?i)bearer\s{1,3}(?P<value>[\w.~+/=-]{16,512})")
_NAME_CHARACTER = re.compile(r"[\w.-]")
# Special tokens of a tokenizer, and figures per token.
_NO_SECRET = re.compile(
    r"(?i)(?:^|[_.-])(?:bos|eos|pad|unk|cls|sep|mask|image|audio|video|special|start|end|stop|prefix|suffix|middle|eot|"
    r"eod|box|lang|language|per|next|first|last)[_-]\Z"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def find_secrets(text: str, known: Mapping[str, str]) -> Iterator[Span]:
    """Secrets of a text as it is searched; of two that overlap, the first is the one to tell of."""
    for secret, name in known.items():
        for at in places(text, secret):
            yield _secret(at, at + len(secret), f"the value of {name}")
    runs = "\n".join(_RUN.findall(text))
    for form in _FORMATS:
        for prefix in form.prefixes:
            for at in places(text, prefix) if prefix in runs else ():
                match = form.rest.match(text, at + len(prefix))
                if match is not None and is_bounded(text, at):
                    yield _secret(at, match.end(), f"{form.name} {prefix}…")
    yield from _private_keys(text)
    yield from _url_passwords(text)
    lower = text.replace("İ", "I").lower()  # the one letter that becomes longer
    for name, word, expression in _NAMED:
        for at in places(lower, word):
            if match := expression.match(text, at):
                yield _secret(*match.span("secret"), name)
    yield from _assigned(text, lower)


def _secret(start: int, end: int, name: str) -> Span:
    return Span(start, end, ACCESS_TOKEN, f"{name} ({end - start} characters)")


def _private_keys(text: str) -> Iterator[Span]:
    for expression, word in ((_PEM, "-----BEGIN "), (_PUTTY, "PuTTY-User-Key-File-")):
        for at in places(text, word):
            if match := expression.match(text, at):
                yield Span(at, match.end(), PRIVATE_KEY, match[1] if expression is _PEM else match.group())


def _url_passwords(text: str) -> Iterator[Span]:
    for at in places(text, "://"):
        match = _USER_INFO.match(text, at)
        if match is None or _PLACEHOLDER.search(match[2]) or RESERVED.search(match[3]):
            continue
        scheme = back(_SCHEME, text, at, 20)
        if scheme and scheme != "github":  # fsspec: github://organisation:repository@branch/
            found = f"{scheme}://…:…@{match[3]} (password of {len(match[2])} characters)"
            yield Span(at - len(scheme), match.end(), URL_PASSWORD, found)


def _assigned(text: str, lower: str) -> Iterator[Span]:
    """Random values of what is called a token, key or password."""
    for word, least in _ASSIGNED_WORDS.items():
        for at in places(lower, word):
            end = at + len(word)
            if lower[end : end + 1].isalnum():
                continue
            before = back(_NAME_CHARACTER, text, at, 60)
            match = _ASSIGNED.match(text, end) or (_FLAG.match(text, end) if before.startswith("--") else None)
            if match and not _NO_SECRET.search(before) and _is_random(match["value"], least):
                yield _secret(*match.span("value"), f"{before}{text[at:end]}".lstrip("-."))
    for at in places(lower, "bearer"):
        if (match := _BEARER.match(text, at)) and _is_random(match["value"], 16):
            yield _secret(*match.span("value"), "Bearer")


def _is_random(value: str, least: int) -> bool:
    """Whether a value of at least `least` characters looks drawn rather than written."""
    if len(value) < least or value.startswith(("/", "./", "~")) or _is_number(value):
        return False
    if _PLACEHOLDER.search(value) or _IDENTIFIER.fullmatch(value):
        return False
    digits = sum(character.isdigit() for character in value)
    if least < 16:
        return (digits > 0 or any(sign in value for sign in "!@#$%^*+=~")) and _entropy(value) >= 2.75
    has_both_cases = value.lower() != value != value.upper()
    if "/" in value and not (has_both_cases and "." not in value and _entropy(value) >= 4):
        return False
    return _entropy(value) >= 3 and digits >= (2 if has_both_cases else 4)


def _is_number(value: str) -> bool:
    try:
        float(value.rstrip("%"))
    except ValueError:
        return False
    return True


def _entropy(value: str) -> float:
    """Bits per character, by how often each occurs."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
