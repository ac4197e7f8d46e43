"""The errors a user can mend. Each message says what was expected, what was found, where, and what to do."""

import difflib
from collections.abc import Iterable


class PlumblineError(Exception):
    """A mistake the user can mend: shown as one message without a traceback, exit code 2."""


class ConfigError(PlumblineError):
    """A setting is unknown, of the wrong type, or at odds with another one."""


class DataError(PlumblineError):
    """A file, column or row is missing or not what was expected."""


class CardError(PlumblineError):
    """A data card is unknown, malformed, or at odds with its data."""


class CheckpointError(PlumblineError):
    """A checkpoint or run folder is damaged, or belongs to another run."""


class TrainingError(PlumblineError):
    """Training cannot go on: the loss is not finite or has left its range."""


class ProofError(PlumblineError):
    """A proof of the run's arithmetic did not hold."""


class VerificationError(PlumblineError):
    """A finished run is not what its files say."""


class HubError(PlumblineError):
    """The Hugging Face Hub cannot be reached, or refused."""


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name` (difflib ratio of at least 0.6, case ignored), or None."""
    by_lower = {option.lower().strip(): option for option in options}
    matches = difflib.get_close_matches(name.lower().strip(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """` Did you mean 'x'?` with a leading blank, or an empty string when nothing is near."""
    match = nearest(name, options)
    if match is None:
        return ""
    note = " (with blanks around it)" if match != match.strip() else ""
    return f" Did you mean {match!r}{note}?"
