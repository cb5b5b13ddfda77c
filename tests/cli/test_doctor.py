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
