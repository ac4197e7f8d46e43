"""Energy of training as codecarbon measures or assumes it, in energy.json of the run folder.

The machine of the first process is measured as a whole: all that runs on it while the model trains (its evaluations and
checkpoints on the way included), be it of this run or not. Other machines of a run are not measured. What codecarbon
cannot measure, it assumes; the file says which. A resumed run adds to the sums, so that they cover interruptions, and
steps that were lost and done again.
"""

import importlib.metadata
import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.errors import ConfigError
from pipelines.run import is_first_process, say

if TYPE_CHECKING:
    from codecarbon.output_methods.emissions_data import EmissionsData

    from pipelines.run_folder import RunFolder
    from pipelines.sections import MeasuredRunConfig

INSTALL = "pip install -c requirements.lock -e '.[energy]'"
FILE = "energy.json"
TOLD = ("country_iso_code", "cpu_power", "codecarbon_version")
SUMS = ("seconds", "energy_kwh", "cpu_energy_kwh", "gpu_energy_kwh", "ram_energy_kwh")
COVERS = "the machine of the first process as a whole, while the model trained"
SECONDS_BETWEEN_MEASUREMENTS = 15  # codecarbon's default; after kill -9 so much is missing
# codecarbon's names of the ways in which it reads the power of a CPU.
COUNTERS = {
    "intel_rapl": "RAPL",
    "intel_power_gadget": "Intel Power Gadget",
    "windows_emi": "the Energy Meter Interface of Windows",
}


def check_energy(run: "MeasuredRunConfig") -> None:
    """Refuses, before anything is trained, what could not be measured.

    Raises:
        ConfigError: energy is asked for, but codecarbon is not installed, or knows no such country.
    """
    if not run.measure_energy:
        return
    if importlib.util.find_spec("codecarbon") is None:
        raise ConfigError(f"run.measure_energy is true, which needs codecarbon. Run: {INSTALL}")
    from codecarbon.input import DataSource

    countries, country = DataSource().get_global_energy_mix_data(), run.country_iso_code
    if country is not None and country not in countries:
        hint = f" Did you mean {country.upper()!r}?" if country.upper() in countries else ""
        raise ConfigError(
            f"run.country_iso_code is {country!r}, but codecarbon knows the electricity mix of no such country."
            f"{hint} Expected one of its {len(countries)} codes of three capitals, such as "
            "FRA; without one, energy is measured and not turned into CO2."
        )


@contextmanager
def measured_energy(folder: "RunFolder") -> Iterator[None]:
    """Around training: keeps its energy in energy.json of the run folder, if the config saved there asks for that.

    The file is written every 15 seconds and at the end, however training ends; no thread is left behind.

    Args:
        folder: has the resolved config, and energy.json if the run was measured before.

    Raises:
        CheckpointError: the energy.json of an earlier part of the run cannot be read.
    """
    run = yaml.safe_load((folder.path / "config.yaml").read_text(encoding="utf-8"))["run"] if is_first_process() else {}
    if not run.get("measure_energy"):
        yield
        return
    before = folder.read_json(FILE, "parts")["parts"] if (folder.path / FILE).is_file() else []
    tracker = _make_tracker(folder, run["country_iso_code"], before)
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()
        _end_threads()
        _keep(folder, before, tracker)


def _make_tracker(folder: "RunFolder", country: str | None, before: list[dict[str, Any]]) -> Any:
    """A quiet tracker without network and files of its own.

    codecarbon's config files and variables can change what power is assumed, and nothing else.
    """
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.output_methods.base_output import BaseOutput

    class Keeper(BaseOutput):
        def live_out(self, total: "EmissionsData", delta: "EmissionsData") -> None:
            with suppress(OSError):  # the disk may have room again at the end
                _write(folder, before, _part(tracker, total))

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # the constructor speaks before it reads log_level
    tracker: Any = OfflineEmissionsTracker(
        country_iso_code=country,
        region=None,
        cloud_provider=None,
        cloud_region=None,
        country_2letter_iso_code=None,
        electricitymaps_api_token="",
        emissions_endpoint=None,
        force_carbon_intensity_g_co2e_kwh=None,
        output_dir=str(folder.path),
        output_methods=[],
        output_handlers=[Keeper()],
        api_call_interval=1,
        measure_power_secs=SECONDS_BETWEEN_MEASUREMENTS,
        tracking_mode="machine",
        allow_multiple_runs=True,  # else it would take over SIGTERM and Ctrl-C
        log_level="critical",
    )
    return tracker


def _end_threads() -> None:
    """Ends codecarbon's timers: one that is measuring while the tracker stops would start the next."""
    while timers := [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer)
        and getattr(thread.function, "__module__", None) == "codecarbon.external.scheduler"
    ]:
        for timer in timers:
            timer.cancel()
            timer.join()


def _keep(folder: "RunFolder", before: list[dict[str, Any]], tracker: Any) -> None:
    total = getattr(tracker, "final_emissions_data", None)
    if total is None:  # codecarbon keeps its errors to itself
        say(f"codecarbon could not measure the energy of this training, so {folder.path / FILE} lacks it.")
    else:
        _write(folder, before, _part(tracker, total))


def _write(folder: "RunFolder", before: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Writes the sums of all parts, what is told of any of them, and the parts; CO2 only if all have it."""
    parts = [*before, part]
    content: dict[str, Any] = {name: sum(each[name] for each in parts) for name in SUMS}
    emissions = [each["emissions_kg"] for each in parts]
    content["emissions_kg"] = None if None in emissions else sum(emissions)
    for name in TOLD:
        content[name] = "; ".join(dict.fromkeys(each[name] for each in parts if each[name])) or None
    folder.write_json(FILE, content | {"covers": COVERS, "parts": parts})


def _part(tracker: Any, total: "EmissionsData") -> dict[str, Any]:
    """What one process of the run used, and how that is known."""
    return {
        "seconds": total.duration,
        "energy_kwh": total.energy_consumed,
        "cpu_energy_kwh": total.cpu_energy,
        "gpu_energy_kwh": total.gpu_energy,
        "ram_energy_kwh": total.ram_energy,
        "emissions_kg": total.emissions if total.country_iso_code else None,  # else of the mean of the world
        "country_iso_code": total.country_iso_code,
        "cpu_power": _cpu_power(tracker),
        "gpu_power": "measured by the driver" if total.gpu_count else None,
        "ram_power": "assumed: by its size",
        "cpu_model": total.cpu_model,
        "cpu_count": total.cpu_count,
        "gpu_model": total.gpu_model or None,
        "gpu_count": total.gpu_count,
        "ram_gb": total.ram_total_size,
        "power_usage_effectiveness": total.pue,
        "codecarbon_version": importlib.metadata.version("codecarbon"),
    }


def _cpu_power(tracker: Any) -> str:
    """Whether the power of the CPU was measured, and by what, or from what it was assumed."""
    from codecarbon.external.hardware import CPU, POWER_CONSTANT

    cpu = next((item for item in tracker._hardware if isinstance(item, CPU)), None)
    if cpu is None:
        return "measured by the platform"  # Apple's powermetrics, the power controller of a Raspberry Pi
    if cpu._mode in COUNTERS:
        return f"measured by {COUNTERS[cpu._mode]}"
    source = "codecarbon's table of CPUs"
    if tracker._force_cpu_power is not None:
        source = "codecarbon's own config"
    elif cpu._tdp == POWER_CONSTANT:
        source = "a constant, since the CPU is not in codecarbon's table"
    share = "by its load" if cpu._mode == "cpu_load" else "half of it all the time"
    return f"assumed: {cpu._tdp:g} W at most ({source}), {share}"
