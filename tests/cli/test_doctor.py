from __future__ import annotations

import json
import shutil

from minigpt.version import __version__


def test_the_machine_is_described(call, own_home) -> None:
    found = json.loads(call("doctor", "--json").stdout)
    assert found["minigpt"] == __version__
    assert found["libraries"]["torch"].startswith("2.")
    assert found["runs"] == str(own_home)
    assert {device["name"] for device in found["devices"]} == {"cpu", "cuda", "mps"}
    for device in found["devices"]:
        assert device["available"] or device["reason"]
    assert found["device_auto"] in {device["name"] for device in found["devices"] if device["available"]}
    assert found["threads"]["torch"] >= 1
    assert found["threads"]["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert found["store"] == {"runs": 0, "damaged": 0, "bytes": 0}
    assert found["disk"]["runs"] > 0  # the folder does not exist yet: its disk does
    assert found["compile"]["available"] == (found["compile"]["reason"] == "")


def test_what_is_missing_to_compile_is_reported(call, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "compile       training.compile needs a C" in call("doctor").stdout
    assert json.loads(call("doctor", "--json").stdout)["compile"]["available"] is False


def test_people_get_the_same_in_words(call, own_home) -> None:
    shown = call("doctor").stdout
    assert f"minigpt {__version__}" in shown
    assert str(own_home) in shown
    assert "device auto   " in shown


def test_the_runs_are_counted_the_damaged_ones_too(call, trained, own_home) -> None:
    for name in ("whole", "torn"):
        shutil.copytree(trained[0], own_home / name)
    (own_home / "torn" / "run.json").write_text("{")
    store = json.loads(call("doctor", "--json").stdout)["store"]
    assert (store["runs"], store["damaged"]) == (1, 1)
    assert store["bytes"] > 1000
    assert "1 runs, 1 damaged" in call("doctor").stdout
