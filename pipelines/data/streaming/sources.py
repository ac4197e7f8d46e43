"""The sources of a streamed run: found, cut into units, and some of these held out for validation."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.card_schema import HUB_SCHEME
from pipelines.data.cards import load_card
from pipelines.data.columns import TextColumn
from pipelines.data.files import SourceFile, find_files
from pipelines.data.loading import HeldOut, hold_out
from pipelines.data.readers import read_texts
from pipelines.data.remote import fetch_files, is_remote
from pipelines.data.sources import card_files, check_source, source_record
from pipelines.data.streaming.documents import StreamSource
from pipelines.data.streaming.shards import Shard, find_shards, hub_data_files, local_shards
from pipelines.data.streaming.units import UNIT_BYTES, Units, UnitTexts
from pipelines.errors import CardError, ConfigError, DataError
from pipelines.sections import SourceConfig, StreamableConfig

if TYPE_CHECKING:
    import pyarrow as pa

MOST_HELD_OUT_UNITS = 8  # of each source


@dataclass(frozen=True)
class OpenedSource:
    """A source before it is divided: its shards, and the files of its own validation split, if it has one."""

    name: str
    weight: float
    shards: list[Shard]
    choose: TextColumn
    validation: list[SourceFile]
    record: dict[str, Any]


def open_sources(data: StreamableConfig) -> list[OpenedSource]:
    """The sources that the data section names, with their shards found and not read.

    Raises:
        CardError, ConfigError, DataError, HubError: a source is not one, or cannot be had.
    """
    if not data.sources:
        return [_open_source(None, 1.0, data, "data")]
    return [_open_source(name, one.weight, one, f"data.sources.{name}") for name, one in data.sources.items()]


def _open_source(name: str | None, weight: float, config: SourceConfig, key: str) -> OpenedSource:
    try:
        check_source(config)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.", f"{key}.")) from None
    choose = TextColumn(config.columns, card=None)
    validation: list[SourceFile] = []
    if config.card:
        card = load_card(config.card)
        chosen = card.config(config.config_name)
        if not config.columns:
            if "text" not in chosen.roles.values():
                raise CardError(
                    f"The card {card.path} gives no column the role 'text', which this recipe reads. Its roles: "
                    f"{chosen.roles}. Add one to col_mapping, or set --{key}.columns."
                )
            choose = TextColumn(chosen.roles, card)
        urls = [path for path in chosen.data_files["train"] if path.startswith(HUB_SCHEME)]
        if urls:
            shards = find_shards(chosen.data_files["train"], f"train of the card {card.path}")
        else:
            shards = local_shards(card_files(card, chosen, "train"))
        if "validation" in chosen.data_files:
            validation = card_files(card, chosen, "validation")
        own, record = card.name, source_record(card.name, card, chosen, None, None)
    elif config.name:
        files = hub_data_files(config.name, config.config_name, config.revision)
        shards = find_shards(files["train"], f"{key}.name")
        validation = [file for url in files.get("validation", []) for file in fetch_files(url, f"{key}.name")]
        own, record = config.name, source_record(config.name, None, None, config.config_name, None)
    else:
        train: Any = config.files.train
        shards = find_shards(train, f"{key}.files.train")
        stated = config.files.validation or []
        for path in [stated] if isinstance(stated, str) else stated:
            where = f"{key}.files.validation"
            validation += fetch_files(path, where) if is_remote(path) else find_files(path, where)
        own = shards[0].file.shown.rsplit("/", 1)[-1].split(".")[0]
        record = source_record(own, None, None, None, [train] if isinstance(train, str) else list(train))
    return OpenedSource(name or own, weight, shards, choose, validation, record)


def divide(opened: Sequence[OpenedSource], data: StreamableConfig) -> tuple[tuple[StreamSource, ...], HeldOut]:
    """Cuts each source into units, and holds some out where it has no validation split of its own.

    Raises:
        DataError: a source is too small for that; a shard cannot be read.
        HubError: the Hub cannot be reached, or refused.
    """
    sources: list[StreamSource] = []
    held: list[UnitTexts] = []
    for number, one in enumerate(opened):
        units = Units.of(one.shards, one.choose.find, data.sample_by)
        trained = np.arange(len(units))
        if not one.validation:
            if len(units) < 2:
                raise DataError(
                    f"The streamed source {one.name} is one unit of {int(units.bytes_U.sum()):,} bytes, of which no "
                    f"validation split can be held out (units have some {UNIT_BYTES:,}). Give --data.files.validation, "
                    "or leave data.streaming out: a corpus of this size is better read whole."
                )
            most = min(MOST_HELD_OUT_UNITS, len(units) - 1)
            count = min(max(1, round(data.validation_share * len(units))), most)
            drawn = np.random.default_rng([data.split_seed, number]).choice(len(units), count, replace=False)
            held += map(units.read, sorted(drawn.tolist()))
            trained = np.setdiff1d(trained, drawn)
        stamps = [shard.stamp() for shard in one.shards]
        fingerprint = digest(data.sample_by, one.choose.mapping, units.table_6U.tobytes(), *stamps)
        sources.append(StreamSource(one.name, one.weight, units, trained, fingerprint, one.record))

    def texts() -> "Iterator[pa.Array]":
        for one in opened:
            for file in one.validation:
                yield from read_texts(file, one.choose.find, data.sample_by)
        for unit in held:
            yield from unit.arrays

    found = hold_out(texts())
    for unit in held:  # whose rows without text are left out already
        found.receipt["rows_read"] += unit.null + unit.empty
        found.receipt["rows_dropped"]["null"] += unit.null
        found.receipt["rows_dropped"]["empty"] += unit.empty
    return tuple(sources), found


def validation_record(
    opened: Sequence[OpenedSource], sources: Sequence[StreamSource], data: StreamableConfig
) -> dict[str, Any] | None:
    """What the receipt says of how validation came about; None: every source has a split of its own."""
    if all(one.validation for one in opened):
        return None
    return {
        "method": "units",
        "share": data.validation_share,
        "seed": data.split_seed,
        "units": sum(len(source.units) - len(source.trained) for source in sources),
        "searched_for_equal_texts": False,
    }


def joined_record(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is known of the origin of all sources: licences and languages only as far as all state them."""
    first, *others = records
    if not others:
        return first
    same = {key: first[key] if all(one[key] == first[key] for one in others) else None for key in first}
    return same | {
        "name": " + ".join(one["name"] for one in records),
        "pretty_name": " + ".join(one["pretty_name"] for one in records),
        "language": sorted({language for one in records for language in one["language"]}),
        "hub_datasets": sorted({name for one in records for name in one["hub_datasets"]}),
        "has_own_files": any(one["has_own_files"] for one in records),
    }


def digest(*parts: object) -> str:
    """Stands for the parts in names of files."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:32]
