"""Energy of training: sums that survive interruptions, told what is measured and what assumed."""

import importlib.metadata
import importlib.util
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pretrain_clm
import pytest
from conftest import RECIPES, tiny_run

from pipelines.config import parse_config
from pipelines.errors import CheckpointError, ConfigError
from pipelines.run import Interrupted, StopRequest
from pipelines.run_folder import RESUMABLE_KEYS, RunFolder
from pipelines.sections import PretrainingConfig, RunConfig
from pipelines.training import energy
from pipelines.training.energy import SUMS, check_energy, measured_energy
from pipelines.training.steps import start_processes

RECIPE = str(RECIPES / "pretrain_clm.py")


def folder_of(path: Path, measure: bool = True, country: str | None = None) -> RunFolder:
    """A run folder with the part of config.yaml that matters here."""
    path.mkdir(exist_ok=True)
    (path / "config.yaml").write_text(json.dumps({"run": {"measure_energy": measure, "country_iso_code": country}}))
    return RunFolder(path)


def measure(folder: RunFolder, seconds: float) -> dict[str, Any]:
    """What energy.json holds after so many seconds of work."""
    with measured_energy(folder):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(1000))
    content: dict[str, Any] = json.loads((folder.path / "energy.json").read_text())
    return content


def test_energy_is_kept_with_how_it_is_known(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    content = measure(folder_of(tmp_path, country="FRA"), 1.2)
    assert set(threading.enumerate()) == before
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "energy.json"}

    assert 1.2 <= content["seconds"] < 3
    assert content["cpu_energy_kwh"] > 0 and content["ram_energy_kwh"] > 0
    split = sum(content[f"{name}_energy_kwh"] for name in ("cpu", "gpu", "ram"))
    assert content["energy_kwh"] == pytest.approx(split)
    assert 0 < content["emissions_kg"] / content["energy_kwh"] < 0.2  # France: 56 g/kWh in the data of 2023
    assert "first process" in content["covers"]
    (part,) = content["parts"]
    assert part["cpu_power"].startswith(("measured by ", "assumed: "))
    assert part["cpu_count"] > 0 and part["ram_gb"] > 0 and part["power_usage_effectiveness"] == 1
    assert (part["country_iso_code"], part["codecarbon_version"]) == ("FRA", importlib.metadata.version("codecarbon"))


def test_parts_of_a_run_add_up(tmp_path: Path) -> None:
    """Also when training ends with an error; CO2 is only told if all parts have it."""
    folder = folder_of(tmp_path, country="SWE")
    first = measure(folder, 0.3)
    with pytest.raises(ZeroDivisionError), measured_energy(folder):
        time.sleep(0.2)
        _ = 1 / 0
    both = folder.read_json("energy.json")
    assert both["parts"][0] == first["parts"][0]
    for name in (*SUMS, "emissions_kg"):
        assert both[name] == pytest.approx(first[name] + both["parts"][1][name])
    assert both["energy_kwh"] > first["energy_kwh"] > 0
    assert (both["country_iso_code"], both["cpu_power"]) == ("SWE", first["parts"][0]["cpu_power"])

    three = measure(folder_of(tmp_path), 0.2)
    assert len(three["parts"]) == 3 and three["energy_kwh"] > both["energy_kwh"]
    assert three["emissions_kg"] is None and three["parts"][2]["country_iso_code"] is None
    assert measure(folder_of(tmp_path, country="FRA"), 0.1)["country_iso_code"] == "SWE; FRA"


def test_a_killed_run_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "SECONDS_BETWEEN_MEASUREMENTS", 0.2)
    folder = folder_of(tmp_path)
    with measured_energy(folder):
        time.sleep(1)
        at_the_kill = folder.read_json("energy.json")
    assert at_the_kill["seconds"] > 0.5 and at_the_kill["energy_kwh"] > 0
    assert folder.read_json("energy.json")["energy_kwh"] > at_the_kill["energy_kwh"]


def test_no_timer_of_the_tracker_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that is measuring while the tracker stops starts the next one all the same."""
    from codecarbon import OfflineEmissionsTracker

    stop = OfflineEmissionsTracker.stop

    def stop_in_the_middle(tracker: Any) -> None:
        scheduler = tracker._scheduler_monitor_power
        stop(tracker)
        scheduler.start(from_run=True)

    monkeypatch.setattr(OfflineEmissionsTracker, "stop", stop_in_the_middle)
    before = set(threading.enumerate())
    measure(folder_of(tmp_path), 0.1)
    assert set(threading.enumerate()) == before


def test_what_is_not_wanted_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with measured_energy(folder_of(tmp_path, measure=False)):
        pass
    monkeypatch.setenv("RANK", "1")
    with measured_energy(folder_of(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_tracker_that_fails_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from codecarbon import OfflineEmissionsTracker

    def fail(*_: Any) -> None:
        raise OSError("no sensors")

    monkeypatch.setattr(OfflineEmissionsTracker, "_ensure_hardware_ready", fail)
    with measured_energy(folder_of(tmp_path)):
        pass
    assert "codecarbon could not measure" in capsys.readouterr().err
    assert not (tmp_path / "energy.json").exists()


def test_hidden_settings_open_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """codecarbon takes settings from files and variables, and would write, ask and send where they say."""
    import requests

    def refuse(*_: Any, **__: Any) -> None:
        asked.append(True)

    asked: list[bool] = []
    monkeypatch.setattr(requests.Session, "request", refuse)
    for name, value in {
        "OUTPUT_METHODS": "csv,api",
        "EMISSIONS_ENDPOINT": "http://localhost:1",
        "ELECTRICITYMAPS_API_TOKEN": "token",
        "CO2_SIGNAL_API_TOKEN": "token",
        "COUNTRY_ISO_CODE": "USA",
        "FORCE_CARBON_INTENSITY_G_CO2E_KWH": "1000000",
        "LOG_LEVEL": "debug",
        "OUTPUT_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"CODECARBON_{name}", value)
    content = measure(folder_of(tmp_path, country="FRA"), 0.1)
    assert not asked
    assert content["emissions_kg"] / content["energy_kwh"] < 0.2
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "energy.json"}
    assert logging.getLogger("codecarbon").level == logging.CRITICAL


def test_a_damaged_file_is_named_before_training(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (tmp_path / "energy.json").write_text("{")
    with pytest.raises(CheckpointError, match="energy.json cannot be read"), measured_energy(folder):
        raise AssertionError("trained")


@pytest.mark.parametrize(
    ("mode", "forced", "power", "told"),
    [
        ("intel_rapl", None, 100, "measured by RAPL"),
        ("cpu_load", None, 120, "assumed: 120 W at most (codecarbon's table of CPUs), by its load"),
        ("cpu_load", None, 85, "assumed: 85 W at most (a constant, since the CPU is not in codecarbon's table), by"),
        ("constant", 40.0, 40, "assumed: 40 W at most (codecarbon's own config), half of it all the time"),
    ],
)
def test_how_the_power_of_the_cpu_is_known_is_told(mode: str, forced: float | None, power: int, told: str) -> None:
    from codecarbon.external.hardware import CPU

    cpu = object.__new__(CPU)
    cpu._mode, cpu._tdp = mode, power

    class Tracker:
        _hardware, _force_cpu_power = [cpu], forced

    assert energy._cpu_power(Tracker()).startswith(told)


def test_mistakes_are_told_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    check_energy(RunConfig(measure_energy=True))
    check_energy(RunConfig(measure_energy=True, country_iso_code="FRA"))
    with pytest.raises(ConfigError, match=r"run.country_iso_code is 'fra', .* Did you mean 'FRA'\? Expected one of"):
        check_energy(RunConfig(measure_energy=True, country_iso_code="fra"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_energy(RunConfig())
    with pytest.raises(ConfigError, match=r"needs codecarbon. Run: pip install -c .*'\.\[energy\]'"):
        start_processes(RunConfig(measure_energy=True), PretrainingConfig())


def test_a_run_that_is_stopped_and_goes_on_has_the_energy_of_both_parts(
    corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second part may ask for other settings, since none decides what is learnt."""
    assert {"run.measure_energy", "run.country_iso_code"} <= RESUMABLE_KEYS
    monkeypatch.setattr(RunFolder, "lock", lambda self: None)  # a process holds it to its end, and this one does both

    def run(*flags: str) -> None:
        flags = (*tiny_run(corpus_file, tmp_path / "run", "--run.measure_energy", "true"), *flags)
        pretrain_clm.main(parse_config(pretrain_clm.Config, RECIPE, list(flags)))

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__call__", lambda self: True)
        with pytest.raises(Interrupted):
            run()
    folder = RunFolder(tmp_path / "run")
    first = folder.read_json("energy.json")
    run("--run.country_iso_code", "FRA")
    both = folder.read_json("energy.json")
    assert both["parts"][0] == first["parts"][0] and len(both["parts"]) == 2
    assert both["energy_kwh"] == pytest.approx(first["energy_kwh"] + both["parts"][1]["energy_kwh"])
    assert both["parts"][1]["emissions_kg"] > 0
