"""Reading from the Hugging Face Hub: known quickly when it cannot be reached, and said in plain words."""

import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pipelines.errors import ConfigError, HubError, PlumblineError

LoadedT = TypeVar("LoadedT")
PROBE_SECONDS = 3.0  # without a network, huggingface_hub itself retries a missing id for some 46 s (measured)


@cache
def hub_is_reachable() -> bool:
    """Whether a connection to HF_ENDPOINT (default huggingface.co) or the HTTPS proxy opens within 3 seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    address = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or endpoint)
    try:
        with socket.create_connection(
            (address.hostname or "", address.port or (443 if address.scheme == "https" else 80)), timeout=PROBE_SECONDS
        ):
            return True
    except OSError:
        return False


def load_pretrained(kind: str, key: str, name: str, load: Callable[[bool], LoadedT]) -> LoadedT:
    """Loads a tokenizer, config or model from a folder or the Hub.

    Args:
        kind: what it is, for messages, such as "tokenizer".
        key: the config key that named it, such as "tokenizer.name".
        name: folder or Hub id.
        load: called with local_files_only, which is True for a folder and where the Hub cannot be reached.

    Raises:
        ConfigError: the folder does not exist or does not hold such a thing.
        HubError: the Hub cannot be reached and its cache does not hold the id, or the Hub refused.
    """
    is_folder = Path(name).is_dir()
    if not is_folder and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ConfigError(f"{key} is {name!r}: there is no such folder.")
    offline = is_folder or not hub_is_reachable()
    try:
        return load(offline)
    except PlumblineError:
        raise
    except Exception as error:  # safetensors, tokenizers and torch raise kinds of their own for damaged files
        reason = str(error).strip().splitlines()[0].strip() if str(error).strip() else type(error).__name__
        if reason.endswith(":"):  # what it says follows in further lines
            reason = " ".join(str(error).split())
        if is_folder:
            raise ConfigError(
                f"{key} is {name!r}: that folder holds no {kind} that transformers can load: {reason}"
            ) from None
        if offline:
            raise HubError(
                f"{key} is {name!r}, which is no local folder, and the Hugging Face Hub cannot be reached from here "
                f"(nor is the {kind} in its cache). Without a network, give --{key} a folder made with save_pretrained "
                "or `hf download`; for a mirror, set HF_ENDPOINT."
            ) from None
        raise HubError(f"{key} is {name!r}: the Hub gave no such {kind}: {reason}") from None
