from __future__ import annotations

import sys

import pytest

from minigpt import resources
from minigpt.cli.app import streamlit_command


def test_alone_the_page_is_for_this_machine_only() -> None:
    command, environment = streamlit_command(None, port=8600)
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert command[4] == str(resources.root() / "streamlit_app.py")
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert options["--server.address"] == "localhost"
    assert options["--server.port"] == "8600"
    assert environment["MINIGPT_PROFILE"] == "local"


def test_the_classroom_profile_listens_on_the_network_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    command, environment = streamlit_command("classroom")
    assert "--server.address" not in command
    assert environment["MINIGPT_PROFILE"] == "classroom"
    assert "anyone who can reach this machine" in capsys.readouterr().err


def test_the_upload_limit_is_the_profiles() -> None:
    limits = {}
    for profile in ("local", "hosted"):
        command, _ = streamlit_command(profile)
        limits[profile] = int(command[command.index("--server.maxUploadSize") + 1])
    assert limits["local"] == 200
    assert limits["hosted"] <= 10


def test_a_profile_that_does_not_exist_is_refused(call) -> None:
    assert "is not one of" in call("app", "--profile", "palace", code=2).stderr
