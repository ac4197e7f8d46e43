"""What must not leave the machine: tokens, keys, passwords, e-mail addresses and paths, in files about to be uploaded.

Secrets are found by their published formats, by what they are assigned to, and by their value where this machine knows
it. detect-secrets (Yelp, 1.5.0 of May 2024) was measured as a base and left: it has no detector for tokens of Hugging
Face, Anthropic, Google, Weights & Biases, Kaggle or for fine-grained ones of GitHub, tells `ghp` for the whole token,
and its detectors of random strings report 84,000 entries of the tokenizer.json of a published model.
"""

import json
import math
import os
import re
import sys
import tempfile
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ACCESS_TOKEN = "access token"
PRIVATE_KEY = "private key"
URL_PASSWORD = "password in an address"
EMAIL = "e-mail address"
ABSOLUTE_PATH = "absolute path"
HIDDEN = "(hidden)"

# Entries of a vocabulary. Replacing one would make another tokenizer, so nothing in these can be hidden.
VOCABULARIES = {
    *("tokenizer.json", "vocab.json", "vocabulary.json", "added_tokens.json"),
    *("merges.txt", "vocab.txt", "vectors.txt"),
}
# Records of a run by their ending, but rows of the data by their content.
DATA_RECORDS = {"analysis.json", "evaluation.json", "examples.json", "neighbours.json", "samples.json", "stdin.jsonl"}
RECORD_SUFFIXES = {".json", ".jsonl", ".md", ".yaml", ".yml"}


@dataclass(frozen=True)
class Leak:
    """Something that must not leave the machine.

    Attributes:
        file: path in the repository.
        line: counted from 1; for a file of weights, 1.
        kind: one of the five constants above.
        found: paths and e-mail addresses in full; of a secret its name, public beginning and length, never more.
        can_be_hidden: whether `hide` replaces it. Secrets never: they have to be revoked.
    """

    file: str
    line: int
    kind: str
    found: str
    can_be_hidden: bool


class Span(NamedTuple):
    """A find in a text, and what is put in its place if it can be hidden."""

    start: int
    end: int
    kind: str
    found: str
    replacement: str | None = None


def find_leaks(files: Mapping[str, Path]) -> list[Leak]:
    """What must not leave, in the order of the files and of their lines.

    Args:
        files: path in the repository -> local file. Binary files are passed over, but for the metadata of safetensors.

    Returns:
        One entry per place; what occurs twice in a line is told once.

    Raises:
        OSError: a file cannot be read.
    """
    known = known_secrets()
    leaks: list[Leak] = []
    for file, path in files.items():
        if is_text(path):
            leaks += leaks_of_text(path.read_bytes().decode("utf-8", errors="replace"), file, known)
        elif (metadata := _safetensors_metadata(path)) is not None:
            found = leaks_of_text(metadata, f"{file}.json", known)
            leaks += [Leak(file, 1, leak.kind, leak.found, can_be_hidden=False) for leak in found]
    return leaks


def leaks_of_text(text: str, file: str, known: Mapping[str, str]) -> list[Leak]:
    """What must not leave of one text.

    Args:
        text: content of the file.
        file: its path in the repository; its name decides how strictly paths are looked for.
        known: secret -> what it is called, see `known_secrets`.
    """
    reading = _reading(text, file)
    spans = _apart([*_secrets(reading, known), *_hideable(reading, file)])
    leaks: dict[Leak, None] = {}
    line, counted = 1, 0
    for span in spans:
        line, counted = line + reading.count("\n", counted, span.start), span.start
        can_be_hidden = span.replacement is not None and not _is_vocabulary(file)
        leaks[Leak(file, line, span.kind, span.found, can_be_hidden)] = None
    return list(leaks)


def hide(text: str, file: str) -> str:
    """The text with `(hidden)` for e-mail addresses and for paths, but for the last part of a path.

    JSON stays JSON and YAML stays YAML. A vocabulary is returned as it is.

    Args:
        text: content of the file.
        file: its path in the repository.
    """
    if _is_vocabulary(file):
        return text
    codec = _codec(file)
    if codec is None:
        return _hidden(text, file)
    decode, encode = codec
    pieces, end = [], 0
    for match in _LITERAL.finditer(text):
        pieces.append(_hidden(text[end : match.start()], file))
        pieces.append(
            _hidden_literal(match.group(), file, text[max(match.start() - 8, 0) : match.start()], decode, encode)
        )
        end = match.end()
    return "".join([*pieces, _hidden(text[end:], file)])


def is_text(path: Path) -> bool:
    """Whether a file is searched as text: it has no NUL byte in its first 8 KiB.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return b"\0" not in stream.read(8192)


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


def _safetensors_metadata(path: Path) -> str | None:
    """`__metadata__` of a safetensors file as JSON; None for another file, or one without."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(100_000_000, path.stat().st_size):  # the limit of safetensors' own reader
            return None
        header = stream.read(length)
    try:
        return json.dumps(json.loads(header)["__metadata__"], ensure_ascii=False)
    except (ValueError, LookupError, TypeError):
        return None


def _is_vocabulary(file: str) -> bool:
    return PurePosixPath(file).name in VOCABULARIES


def _is_record(file: str) -> bool:
    """Whether a file tells of the run alone, so that every absolute path in it is one of this machine."""
    path = PurePosixPath(file)
    return path.suffix in RECORD_SUFFIXES and path.name not in VOCABULARIES | DATA_RECORDS


def _is_of_both(file: str) -> bool:
    """Whether a file shows rows of the data and tells of the run."""
    path = PurePosixPath(file)
    return path.suffix == ".html" or path.name in DATA_RECORDS


# ---------------------------------------------------------------- how a text is read, and written again

_HIDEABLE = re.compile(r"[/\\@]")  # every path and e-mail address has one of them
_LITERAL = re.compile(r'"[^"\\\n]*+(?:\\[\s\S][^"\\\n]*+)*+"')


def _reading(text: str, file: str) -> str:
    """The text as it is searched: string literals decoded, with the same lines.

    Within a decoded literal a line end becomes a carriage return and a quote an apostrophe, so that lines can be
    counted and `"` is always a delimiter. The blanks and line ends of byte-level vocabularies become blanks.
    """
    codec = _codec(file)
    if codec is not None and "\\" in text:
        decode = codec[0]
        text = _LITERAL.sub(lambda match: _decoded(match.group(), decode), text)
    return text.replace("Ġ", " ").replace("Ċ", " ") if _is_vocabulary(file) else text


def _decoded(literal: str, decode: Callable[[str], str | None]) -> str:
    content = decode(literal) if "\\" in literal else None
    return literal if content is None else f'"{_within_quotes(content)}"' + "\n" * literal.count("\n")


def _within_quotes(content: str) -> str:
    return content.replace("\n", "\r").replace('"', "'")


def _codec(file: str) -> tuple[Callable[[str], str | None], Callable[[str], str]] | None:
    """How literals in double quotes are decoded (None: it is none) and encoded, for a file that has escapes in them."""
    suffix = PurePosixPath(file).suffix
    if suffix in (".json", ".jsonl"):
        return _decode_json, json.dumps
    return (_decode_yaml, _encode_yaml) if suffix in (".yaml", ".yml") else None


def _decode_json(literal: str) -> str | None:
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return None


def _decode_yaml(literal: str) -> str | None:
    import yaml

    try:
        return str(yaml.safe_load(literal))
    except yaml.YAMLError:
        return None


def _encode_yaml(content: str) -> str:
    import yaml

    return str(yaml.safe_dump(content, default_style='"', width=sys.maxsize)).strip()


def _hidden_literal(
    literal: str, file: str, before: str, decode: Callable[[str], str | None], encode: Callable[[str], str]
) -> str:
    has_escapes = "\\" in literal
    content = decode(literal) if has_escapes else literal[1:-1]
    if content is None:
        return _hidden(literal, file)
    changed = _hidden(content, file, f'{before}"')
    if changed == content:
        return literal
    return encode(changed) if has_escapes else f'"{changed}"'


def _hidden(text: str, file: str, before: str = "") -> str:
    """A text with all replaced that can be.

    Args:
        text: without escapes, or the content of a string literal.
        file: path in the repository.
        before: for a literal, its quote and some of what stands before it.
    """
    if not _HIDEABLE.search(text):
        return text
    while spans := _apart(_hideable(f'{before}{_within_quotes(text)}"' if before else text, file)):
        pieces, end = [], 0
        for span in spans:
            if span.start >= len(before):
                pieces += [text[end : span.start - len(before)], span.replacement or ""]
                end = span.end - len(before)
        if not pieces:
            break
        text = "".join([*pieces, text[end:]])  # the last part of a path, which stays, may hold another find
    return text


def _apart(spans: list[Span]) -> list[Span]:
    """In the order of the text, those that do not overlap one given before them."""
    taken: list[Span] = []
    for span in spans:
        at = bisect(taken, span.start, key=lambda other: other.start)
        if (at == 0 or taken[at - 1].end <= span.start) and (at == len(taken) or span.end <= taken[at].start):
            taken.insert(at, span)
    return taken


def _hideable(text: str, file: str) -> list[Span]:
    """Paths, then e-mail addresses, of a text as it is searched."""
    paths = [(start, end, text[start:end]) for start, end in _paths(text, file)]
    return [
        *(Span(start, end, ABSOLUTE_PATH, path, _hidden_path(path)) for start, end, path in paths),
        *(Span(start, end, EMAIL, text[start:end], HIDDEN) for start, end in _emails(text)),
    ]


# ---------------------------------------------------------------- places in a text


def _places(text: str, word: str) -> Iterator[int]:
    """Where a word begins. `str.find` reads 20 MB in milliseconds, a regular expression without prefix in seconds."""
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


# Of JSON, YAML, Python and JavaScript, in text that is not decoded: `\\n/home` begins with a slash, not with an n.
_ESCAPE = re.compile(r"\\(?:[nrt]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})")
_ASCII_WORD = re.compile(r"[A-Za-z0-9_]")


def _is_bounded(text: str, start: int) -> bool:
    """Whether no ASCII letter, digit or underscore stands before a place."""
    return _back(_ASCII_WORD, text, start, 9) == ""


def _back(character: re.Pattern[str], text: str, at: int, limit: int = 200) -> str:
    """What stands before a place of a text, as far back as characters of a kind go, and not into an escape."""
    start = at
    while start > max(at - limit, 0) and character.match(text, start - 1):
        start -= 1
    escape = _ESCAPE.match(text, start - 1, at) if start else None
    return text[escape.end() if escape else start : at]


# ---------------------------------------------------------------- secrets


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
_QUOTE = r"""(?:["'`]|&\#3[49];|&quot;)"""
_VALUE = r"""(?P<value>[A-Za-z0-9_+/=.~!@#%^*$-]{8,512})(?=["'`\s,;)}\]<&\\]|$)"""
_ASSIGNED = re.compile(
    rf"(?i)(?:[_-]?(?:key|value))?(?:{_QUOTE}|\])?\s{{0,3}}(?::=|=>|={{1,3}}|:)\s{{0,3}}[bru]{{0,2}}{_QUOTE}?{_VALUE}"
)
_FLAG = re.compile(rf"(?i)(?:[_-]?(?:key|value))?[\s=]{_QUOTE}?{_VALUE}")
_BEARER = re.compile(r"(?i)bearer\s{1,3}(?P<value>[\w.~+/=-]{16,512})")
_NAME_CHARACTER = re.compile(r"[\w.-]")
# Special tokens of a tokenizer, and figures per token.
_NO_SECRET = re.compile(
    r"(?i)(?:^|[_.-])(?:bos|eos|pad|unk|cls|sep|mask|image|audio|video|special|start|end|stop|prefix|suffix|middle|eot|"
    r"eod|box|lang|language|per|next|first|last)[_-]\Z"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def _secrets(text: str, known: Mapping[str, str]) -> Iterator[Span]:
    """Secrets of a text as it is searched; of two that overlap, the first is the one to tell of."""
    for secret, name in known.items():
        for at in _places(text, secret):
            yield _secret(at, at + len(secret), f"the value of {name}")
    runs = "\n".join(_RUN.findall(text))
    for form in _FORMATS:
        for prefix in form.prefixes:
            for at in _places(text, prefix) if prefix in runs else ():
                match = form.rest.match(text, at + len(prefix))
                if match is not None and _is_bounded(text, at):
                    yield _secret(at, match.end(), f"{form.name} {prefix}…")
    yield from _private_keys(text)
    yield from _url_passwords(text)
    lower = text.replace("İ", "I").lower()  # the one letter that becomes longer
    for name, word, expression in _NAMED:
        for at in _places(lower, word):
            if match := expression.match(text, at):
                yield _secret(*match.span("secret"), name)
    yield from _assigned(text, lower)


def _secret(start: int, end: int, name: str) -> Span:
    return Span(start, end, ACCESS_TOKEN, f"{name} ({end - start} characters)")


def _private_keys(text: str) -> Iterator[Span]:
    for expression, word in ((_PEM, "-----BEGIN "), (_PUTTY, "PuTTY-User-Key-File-")):
        for at in _places(text, word):
            if match := expression.match(text, at):
                yield Span(at, match.end(), PRIVATE_KEY, match[1] if expression is _PEM else match.group())


def _url_passwords(text: str) -> Iterator[Span]:
    for at in _places(text, "://"):
        match = _USER_INFO.match(text, at)
        if match is None or _PLACEHOLDER.search(match[2]) or _RESERVED.search(match[3]):
            continue
        scheme = _back(_SCHEME, text, at, 20)
        if scheme and scheme != "github":  # fsspec: github://organisation:repository@branch/
            found = f"{scheme}://…:…@{match[3]} (password of {len(match[2])} characters)"
            yield Span(at - len(scheme), match.end(), URL_PASSWORD, found)


def _assigned(text: str, lower: str) -> Iterator[Span]:
    """Random values of what is called a token, key or password."""
    for word, least in _ASSIGNED_WORDS.items():
        for at in _places(lower, word):
            end = at + len(word)
            if lower[end : end + 1].isalnum():
                continue
            before = _back(_NAME_CHARACTER, text, at, 60)
            match = _ASSIGNED.match(text, end) or (_FLAG.match(text, end) if before.startswith("--") else None)
            if match and not _NO_SECRET.search(before) and _is_random(match["value"], least):
                yield _secret(*match.span("value"), f"{before}{text[at:end]}".lstrip("-."))
    for at in _places(lower, "bearer"):
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


# ---------------------------------------------------------------- e-mail addresses

_LOCAL = re.compile(r"[A-Za-z0-9._%+À-ɏ-]")
_DOMAIN = re.compile(r"((?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+([A-Za-z]{2,24}))(?![\w(@-])")
# Besides the codes of countries: IANA lists 1,400, most of which are words that programs use as well.
_TOP_LEVEL = re.compile(
    r"(?i)com|org|net|edu|gov|mil|int|info|biz|name|pro|aero|coop|museum|jobs|mobi|tel|travel|cat|asia|xyz|online|site|"
    r"tech|cloud|email|app|dev|page|blog|shop|store|art|science|academy|education|university|institute|school|college|"
    r"foundation|agency|systems|solutions|software|technology|network|digital|media|news|press|world|global|group|team|"
    r"center|company|ventures|consulting|health|bio|eco|earth|energy|engineering|expert|live|life|london|paris|berlin|"
    r"hamburg|wien|koeln|tokyo|nyc|amsterdam|bayern|swiss|scot|ngo|ong|one|space|website|local|lan|internal|corp"
)
_NO_COUNTRIES = {"js", "ts", "go", "cs", "kt", "hs", "rb", "db", "gz", "xz"}
# RFC 2606 and RFC 6761
_RESERVED = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$")
_NO_PERSON = {"git", "hg", "noreply", "no-reply", "donotreply", "do-not-reply"}
_NO_DELIMITER = re.compile(r"""[^\s"'`<>]""")


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of e-mail addresses of a text as it is searched."""
    for at in _places(text, "@"):
        domain = _DOMAIN.match(text, at + 1)
        if domain is None or not _is_top_level(domain[2]) or _RESERVED.search(domain[1]):
            continue
        local = _back(_LOCAL, text, at, 64).lstrip(".%")
        start = at - len(local)
        if local and not local.endswith(".") and local.lower() not in _NO_PERSON and not _is_in_url(text, start):
            yield start, domain.end()


def _is_top_level(name: str) -> bool:
    if len(name) == 2:
        return name in (name.lower(), name.upper()) and name.lower() not in _NO_COUNTRIES
    return _TOP_LEVEL.fullmatch(name) is not None


def _is_in_url(text: str, start: int) -> bool:
    """Whether a place is within an address, but for the values of its query."""
    before = _back(_NO_DELIMITER, text, start)
    return "://" in before and not before.endswith("=")


# ---------------------------------------------------------------- paths

# What ends a part of a path, besides blanks and slashes; within a class of a regular expression.
_ENDS = r""""'`<>|&;,:(){}\[\]$“”„‘’«»，。；：、（）【】「」"""
_PART = rf"[^\s/\\{_ENDS}]+"
_BEFORE = r"\w.)\]}*?#%$&+~@\\!/-"
_POSIX = re.compile(rf"/(?:(?<=file:///)|(?<![{_BEFORE}]/))(?=[\w.@]){_PART}(?:/+{_PART})+")
_POSIX_HERE = re.compile(rf"/+{_PART}(?:/+{_PART})*")
_TILDE = re.compile(rf"~/(?<![{_BEFORE}]~/)(?=[\w.]){_PART}(?:/+{_PART})*")
_WINDOWS_PART = rf"[^\s\\/*?{_ENDS}]++"
_WINDOWS_PARTS = rf"{_WINDOWS_PART}(?:(?:\\{{1,2}}|/){_WINDOWS_PART})++(?![{{$^])"  # not LaTeX
_DRIVE = re.compile(rf"(?<![A-Za-z0-9$])[A-Za-z]:(?:\\{{1,2}}|(?<=[A-Z]:)/){_WINDOWS_PARTS}")
_SHARE = re.compile(rf"(?<![\w\\$])(?:\\\\){{1,2}}(?=[A-Za-z0-9]){_WINDOWS_PARTS}")
_PATH_CHARACTER = re.compile(r"[\w.+~/-]")
_SLASHES = re.compile(r"[\\/]+")

# Beginnings that are the same everywhere: devices, placeholders, routes of an API, a JPEG image in base 64.
_NOWHERE = re.compile(
    r"/(?:dev/(?:null|zero|full|random|urandom|std(?:in|out|err)|fd/\d+|tty\w*)$|(?:path|your|api|v\d+)/|9j/)"
)
# Relations of NYT10 and Freebase, which are labels: /people/person/place_lived
_RELATION = re.compile(r"/(?:broadcast|business|film|location|people|sports|time)/[a-z_]+/[a-z_]+")
_LINK = re.compile(r"""(?:\]\(|\b(?:href|src)=["']?|base64,)\Z""")
# Where a path is of this machine although rows of the data stand in the file: what is before and behind it.
_VALUES = (
    (re.compile(r"--[\w.-]+[ =](?:'|&#39;)?\Z"), re.compile("")),  # the command
    (re.compile(r"\n +(?:- |[\w.]+: )(?:'|&#39;)?\Z"), re.compile(r"(?:'|&#39;)?\n")),  # the config
    (re.compile(r"(?:^|[\n:,\[])\s*(?:&#34;|&quot;)\Z"), re.compile("&#34;|&quot;")),  # the receipt
    (re.compile(r"(?:\"|<h\d>)\Z"), re.compile(r", row \d")),  # a row
    (re.compile(r"\btrained on \Z"), re.compile(" ·|<")),  # the data
)

_PERSON = re.compile(rf"/(?:(?:home|Users)/([\w.-]+)/|root/{_PART})")
_WINDOWS_PERSON = re.compile(r"""(?i)[A-Z]:(?:\\{1,2}|/)users(?:\\{1,2}|/)([\w.-]+)""")
# Names in documentation, and accounts that many machines have.
_NOBODY = re.compile(
    r"(?i)\.*|(?:my|your|some)?[_-]?(?:name|user|user[_-]?name)|users|you|me|someone|somebody|foo|bar|example|default|"
    r"public|shared|all|guest|runner|vsts|travis|circleci|ubuntu|ec2-user|jovyan|vscode|docker|app|node|build"
)
_HOME = re.compile(r"(?i)(?:.*/)?(?:home|users)/[^/]+|[a-z]:(?:\\{1,2}|/)users(?:\\{1,2}|/)[^\\/]+")
_INSIDE = re.compile(rf"/{_PART}")
_INSIDE_OR_END = re.compile(r"/|(?![\w.~-])|\.(?!\w)")
_OF_EVERY_MACHINE = {"/", "/home", "/tmp", "/var/tmp", "/usr/tmp"}


def _paths(text: str, file: str) -> Iterator[tuple[int, int]]:
    """Start and end of paths of a text as it is searched; of two that overlap, the first is the one to tell of.

    In a record of the run, any absolute path. In other files, those that name a person, the folders of this process,
    and others only where Plumbline writes a path beside rows of the data.
    """
    for start, end in _paths_of_people(text):
        yield start, _end_of_value(text, file, start, end)
    if not _is_vocabulary(file):
        for start, end in _absolute_paths(text):
            end = _end_of_value(text, file, start, end)
            if _is_record(file) or (_is_of_both(file) and _is_value(text, start, end)):
                yield start, end


def _absolute_paths(text: str) -> Iterator[tuple[int, int]]:
    for expression in (_TILDE, _DRIVE, _SHARE):
        for match in expression.finditer(text):
            # `Q:\nWhat` is a prompt, with a line end that was written as two characters.
            if expression is _TILDE or any(part[:1] != "n" for part in _SLASHES.split(match.group())[1:]):
                yield match.start(), _end_of(expression, text, match.start())
    for match in _POSIX.finditer(text):
        end = _end_of(_POSIX, text, match.start())
        if _is_somewhere(text[match.start() : end]) and not _is_linked(text, match.start()):
            yield match.start(), end


def _paths_of_people(text: str) -> Iterator[tuple[int, int]]:
    """Paths that name a person, or begin with a folder of this user or process."""
    for word in ("Users", "users", "USERS"):
        for at in _places(text, word):
            person = _WINDOWS_PERSON.search(text, max(at - 4, 0), at + 80)
            if person is not None and not _is_nobody(person[1]) and _is_bounded(text, person.start()):
                yield person.start(), max(person.end(), _end_of(_DRIVE, text, person.start()))
    for folder in ("/home/", "/Users/", "/root/"):
        for at in _places(text, folder):
            person = _PERSON.match(text, at)
            start = None if person is None or _is_nobody(person[1]) else _start_of_path(text, at)
            if start is not None:
                yield start, _end_of(_POSIX_HERE, text, start)
    for own in _own_folders():
        goes_on = _INSIDE if own.count("/") == 1 else _INSIDE_OR_END  # "/root" alone is a word
        for at in _places(text, own):
            if goes_on.match(text, at + len(own)) and _start_of_path(text, at) == at:
                yield at, _end_of(_POSIX_HERE, text, at + len(own))


def _own_folders() -> list[str]:
    folders = [Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(__file__).parents[2]]
    return sorted({str(form) for folder in folders for form in (folder, folder.resolve())} - _OF_EVERY_MACHINE)


def _is_nobody(name: str | None) -> bool:
    return name is not None and _NOBODY.fullmatch(name) is not None


def _is_somewhere(path: str) -> bool:
    """Whether a path can be one of a machine: not a fraction, a route or a label."""
    parts = path.strip("/").split("/")
    if len(parts) < 2 or (len(parts) < 3 and len(parts[0]) == 1) or all(part.isdigit() for part in parts):
        return False
    return not _NOWHERE.match(path) and not _RELATION.fullmatch(path)


def _is_linked(text: str, start: int) -> bool:
    """Whether a path is within an address, or relative to that of a page."""
    if _LINK.search(text[max(start - 8, 0) : start]):
        return True
    before = _back(_NO_DELIMITER, text, start)
    return "://" in before and not before.endswith("file://")


def _is_value(text: str, start: int, end: int) -> bool:
    before = text[max(start - 64, 0) : start]
    return any(expression.search(before) and behind.match(text, end) for expression, behind in _VALUES)


def _start_of_path(text: str, at: int) -> int | None:
    """Where the absolute path begins that a place is in; None within an address or a relative path."""
    head = _back(_PATH_CHARACTER, text, at)
    start = at - len(head)
    if head.startswith("//") and text[start - 1 : start] == ":":
        return start + 2 if text[max(start - 5, 0) : start] == "file:" else None
    if head.startswith("/"):
        return start
    return None if re.search(r"[\w.~/]\Z", head) else at


def _end_of(expression: re.Pattern[str], text: str, start: int) -> int:
    """End of a match, without punctuation of a sentence and a last slash; `start` if there is no match."""
    match = expression.match(text, start)
    return start if match is None else start + len(match.group().rstrip(".*?!").rstrip("/"))


_QUOTED = re.compile(rf"{_QUOTE}\Z")
_OTHER_VALUE = re.compile(r"\s[/~-]|\s[A-Za-z]:[\\/]|[.:;,?!]\s|\s[(#]")
_CLOSING = re.compile(r"""["'`{}\[\]]""")  # of something that was opened before the path
_BEFORE_VALUE = re.compile(r"\s*(?:- +)*(?:[\w.-]+: +)?")


def _end_of_value(text: str, file: str, start: int, end: int) -> int:
    """Where a path with blanks ends, if quotes or YAML tell; otherwise `end`, that of its part without blanks."""
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    quoted = _QUOTED.search(text, max(start - 6, 0), start)
    if quoted:
        stop = text.find(quoted.group(), end, min(line_end, start + 400))
    elif PurePosixPath(file).suffix in (".yaml", ".yml"):
        is_value = _BEFORE_VALUE.fullmatch(text, text.rfind("\n", 0, start) + 1, start)
        stop = line_end if is_value else -1
    else:
        return end
    more = text[end:stop].rstrip().rstrip("/")
    if stop < 0 or not re.search(r"\w", more) or _OTHER_VALUE.search(text, end, stop) or _CLOSING.search(more):
        return end
    return end + len(more)


def _hidden_path(path: str) -> str:
    """What is shown of a path: its last part, unless that is a person's name."""
    if _HOME.fullmatch(path) or path == str(Path.home()):
        return HIDDEN
    return f"{HIDDEN}/{_SLASHES.split(path)[-1]}"
