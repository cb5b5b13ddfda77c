"""`minigpt app`: the web page, served with the settings that ship with it."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from minigpt import resources
from minigpt.cli.console import note


@click.command()
@click.option(
    "--profile",
    type=click.Choice(["local", "classroom", "hosted"]),
    help="Who may use it: only you, a class on this network, or anyone.  [default: local]",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to serve on.  [default: 8501]")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def app(profile: str | None, port: int | None, no_browser: bool) -> None:
    """Open minigpt in the browser."""
    command, environment = streamlit_command(profile, port, no_browser)
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(
            command[0], command, environment
        )  # signals then reach the server itself, which saves the runs in training
    try:
        code = subprocess.call(command, env=environment)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def streamlit_command(
    profile: str | None, port: int | None = None, no_browser: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the server, and its environment.

    Only options that depend on the profile are set here. The others are in `.streamlit/config.toml` beside the script;
    Streamlit finds that file whatever the current folder is.
    """
    from minigpt.runs.limits import load_limits

    limits = load_limits(profile)
    megabytes = -(-limits.max_upload_bytes // 1_000_000)  # rounded up; the pages check the exact number of bytes
    command = [sys.executable, "-m", "streamlit", "run", str(resources.root() / "streamlit_app.py")]
    command += ["--server.maxUploadSize", str(megabytes), "--server.showEmailPrompt", "false"]
    if limits.profile == "local":
        command += ["--server.address", "localhost"]  # Streamlit's default would open it to the whole network
    else:
        command += ["--server.headless", "true"]
        note(f"Profile {limits.profile}: anyone who can reach this machine over the network can open the page.")
    if port is not None:
        command += ["--server.port", str(port)]
    if no_browser and limits.profile == "local":
        command += ["--server.headless", "true"]
    return command, {**os.environ, "MINIGPT_PROFILE": limits.profile}
