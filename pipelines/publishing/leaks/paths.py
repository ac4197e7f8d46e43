"""Absolute paths, and those that name a person."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipelines.publishing.leaks.reading import (
    HIDDEN,
    QUOTE,
    is_bounded,
    is_of_both,
    is_record,
    is_vocabulary,
)
from pipelines.text_search import NO_DELIMITER, back, places

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
    (re.compile(r"://[^\s()]+ \(\Z"), re.compile(r"\)")),
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


def find_paths(text: str, file: str) -> Iterator[tuple[int, int]]:
    """Start and end of paths of a text as it is searched; of two that overlap, the first is the one to tell of.

    In a record of the run, any absolute path. In other files, those that name a person, the folders of this process,
    and others only where Plumbline writes a path beside rows of the data.
    """
    for start, end in _paths_of_people(text):
        yield start, _end_of_value(text, file, start, end)
    if not is_vocabulary(file):
        for start, end in _absolute_paths(text):
            end = _end_of_value(text, file, start, end)
            if is_record(file) or (is_of_both(file) and _is_value(text, start, end)):
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
        for at in places(text, word):
            person = _WINDOWS_PERSON.search(text, max(at - 4, 0), at + 80)
            if person is not None and not _is_nobody(person[1]) and is_bounded(text, person.start()):
                yield person.start(), max(person.end(), _end_of(_DRIVE, text, person.start()))
    for folder in ("/home/", "/Users/", "/root/"):
        for at in places(text, folder):
            person = _PERSON.match(text, at)
            start = None if person is None or _is_nobody(person[1]) else _start_of_path(text, at)
            if start is not None:
                yield start, _end_of(_POSIX_HERE, text, start)
    for own in _own_folders():
        goes_on = _INSIDE if own.count("/") == 1 else _INSIDE_OR_END  # "/root" alone is a word
        for at in places(text, own):
            if goes_on.match(text, at + len(own)) and _start_of_path(text, at) == at:
                yield at, _end_of(_POSIX_HERE, text, at + len(own))


def _own_folders() -> list[str]:
    folders = [Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(__file__).parents[3]]
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
    before = back(NO_DELIMITER, text, start)
    return "://" in before and not before.endswith("file://")


def _is_value(text: str, start: int, end: int) -> bool:
    before = text[max(start - 64, 0) : start]
    return any(expression.search(before) and behind.match(text, end) for expression, behind in _VALUES)


def _start_of_path(text: str, at: int) -> int | None:
    """Where the absolute path begins that a place is in; None within an address or a relative path."""
    head = back(_PATH_CHARACTER, text, at)
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


_QUOTED = re.compile(rf"{QUOTE}\Z")
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


def hidden_path(path: str) -> str:
    """What is shown of a path: its last part, unless that is a person's name."""
    if _HOME.fullmatch(path) or path == str(Path.home()):
        return HIDDEN
    return f"{HIDDEN}/{_SLASHES.split(path)[-1]}"
