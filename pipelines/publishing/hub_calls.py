"""Calls of the Hub: repeated where waiting helps, and every refusal told in plain words."""

import re
import time
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any, TypeVar

from pipelines.errors import HubError
from pipelines.hub import hub_is_reachable
from pipelines.run import say

T = TypeVar("T")
ATTEMPTS = 5
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 300.0
CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 120.0
TEMPORARY = frozenset([408, 409, 412, 425, 429, 500, 502, 503, 504])  # 409, 412: somebody else pushed in between
ADVICE = {
    401: "The access token is not valid. Log in anew with `hf auth login`, or set HF_TOKEN.",
    403: "The access token may not do this. Make one with write rights at https://huggingface.co/settings/tokens.",
    404: "There is no such repository, or the access token cannot see it.",
    409: "Another process pushes to the same repository. Wait for it, then run the same command again.",
    412: "Another process pushes to the same repository. Wait for it, then run the same command again.",
    413: "The Hub takes no file as large: leave it out (--publish.records, --publish.checkpoints), or make it smaller.",
    429: "The Hub asks for fewer requests. Wait some minutes, then run the same command again.",
}


def call(doing: str, function: Callable[[], T]) -> T:
    """Calls what asks the Hub, up to five times where the failure may pass.

    Waits 2, 4, 8 and 16 seconds, or as long as the Hub asks for (Retry-After). Every such function may be repeated: an
    upload is addressed by its content, and a commit of what is there already is none.

    Args:
        doing: for messages, such as "making the repository ada/reviews".
        function: asks the Hub by huggingface_hub.

    Raises:
        HubError: the Hub refused, cannot be reached, or failed five times.
    """
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.errors import (
        FileMetadataError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    of_the_hub = httpx2.HTTPError | ConnectionError | TimeoutError | JSONDecodeError
    of_the_hub |= FileMetadataError | LocalEntryNotFoundError
    for attempt in range(1, ATTEMPTS + 1):
        if (session := get_session()).timeout.read is None:  # huggingface_hub sets no limit
            session.timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        try:
            return function()
        except (LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
            raise HubError(_first_line(error)) from None
        except (httpx2.HTTPError, OSError, JSONDecodeError, RuntimeError) as error:
            if isinstance(error.__cause__, httpx2.HTTPError):  # failed uploads and downloads wrap why
                error = error.__cause__
            elif isinstance(error, OSError) and not isinstance(error, of_the_hub) and error.errno is not None:
                raise  # of this machine, such as a full disk; those of the Hub's client have no number
            response = getattr(error, "response", None)
            status = None if response is None else response.status_code
            if attempt == ATTEMPTS or not (status is None or status in TEMPORARY):
                raise HubError(_refusal(doing, error, status, attempt)) from None
            wait = _wait_seconds(response, attempt)
            say(f"The Hub {_answer(error, status)} while {doing}; again in {wait:.0f} s ({attempt} of {ATTEMPTS - 1})")
            time.sleep(wait)
    raise AssertionError("unreachable")


def check_reachable() -> None:
    """Raises HubError if no connection to the Hub opens."""
    if not hub_is_reachable():
        raise HubError(
            "The Hugging Face Hub cannot be reached from here, so nothing can be pushed. Check the network, "
            "HF_ENDPOINT and HF_HUB_OFFLINE; to rehearse without it: --publish.dry_run true; to push later: "
            "python recipes/publish_to_hub.py RUN_DIR --publish.repo_id user/name"
        )


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error of huggingface_hub, if it has one."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _refusal(doing: str, error: Exception, status: int | None, attempts: int) -> str:
    said = _words_of_the_hub(error) or _first_line(error)
    times = f" {attempts} times" if attempts > 1 else ""
    advice = ADVICE.get(status or 0, "Nothing is lost: run the same command again, and it goes on.")
    return f"The Hub {_answer(error, status)}{times} while {doing}: {without_queries(said).rstrip('.')}. {advice}"


def _words_of_the_hub(error: Exception) -> str:
    """What the Hub says of its refusal, if anything."""
    response: Any = getattr(error, "response", None)
    return "" if response is None else str(response.headers.get("X-Error-Message", ""))


def _answer(error: Exception, status: int | None) -> str:
    if status is not None:
        return f"answered {status}"
    if isinstance(error, JSONDecodeError):
        return "answered with a page that is not JSON"
    if type(error).__name__ in ("FileMetadataError", "LocalEntryNotFoundError"):
        return "answered with something that is not the file"
    return "did not answer in time" if "Timeout" in type(error).__name__ else "cut the connection"


def _wait_seconds(response: Any, attempt: int) -> float:
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = {} if response is None else response.headers
    is_limited = response is not None and response.status_code == 429
    limit = parse_ratelimit_headers(headers) if is_limited else None
    asked = headers.get("Retry-After", "")
    wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
    if asked.isdigit():
        wait = float(asked)
    elif limit is not None and limit.remaining == 0:
        wait = limit.reset_in_seconds + 1.0  # the seconds are rounded
    return min(wait, LONGEST_WAIT_SECONDS)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def without_queries(text: str) -> str:
    """A text whose addresses have lost their queries, which may hold a signature."""
    return re.sub(r"\?[\w.-]+=[^\s'\")]*", "?(hidden)", text)
