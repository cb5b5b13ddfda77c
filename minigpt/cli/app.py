"""`minigpt app`: the web page, served with the settings that ship with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from minigpt import resources
from minigpt.cli.console import note
from minigpt.cli.options import input_file


@click.command()
@click.option(
    "--profile",
    type=click.Choice(["local", "classroom", "hosted"]),
    help="Who may use it: only you, a class on this network, or anyone.  [default: local]",
)
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Port to serve on.  [default: 8501]")
@click.option(
    "--sampler-file",
    type=input_file,
    metavar="FILE",
    envvar="MINIGPT_SAMPLER_FILE",
    help="A Python file with sampling rules of your own for the Sampling page; it is run. Only with the profile local.",
)
@click.option(
    "--module-file",
    type=input_file,
    metavar="FILE",
    envvar="MINIGPT_MODULE_FILE",
    help="A Python file with position schemes or blocks of your own for the Model and Train pages; it is run. Only "
    "with the profile local.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def app(
    profile: str | None, port: int | None, sampler_file: Path | None, module_file: Path | None, no_browser: bool
) -> None:
    """Open minigpt in the browser."""
    command, environment = streamlit_command(profile, port, no_browser, sampler_file, module_file)
    if module_file is not None:  # what is wrong with it is said here; the server would start without it
        from minigpt.model.own_modules import load_modules

        note(f"Loaded {', '.join(load_modules(module_file))}.")
    check_runner()
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


def check_runner() -> None:
    """Reach the cluster once, if the server is to use one, so that a mistake is told here and not on each page.

    Raises:
        ConfigError: `MINIGPT_RUNNER` names no engine, or its cluster cannot be reached.
    """
    from minigpt.runs import manager

    if manager.is_cluster():
        manager.cluster_engine().close()


def streamlit_command(
    profile: str | None,
    port: int | None = None,
    no_browser: bool = False,
    sampler_file: Path | None = None,
    module_file: Path | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the server, and its environment.

    Only options that depend on the profile are set here. The others are in `.streamlit/config.toml` beside the script;
    Streamlit finds that file whatever the current folder is.
    """
    from minigpt.resources import MODULE_FILE_VARIABLE
    from minigpt.runs.limits import PROFILE_VARIABLE, SAMPLER_FILE_VARIABLE, load_limits

    limits = load_limits(profile)
    environment = {**os.environ, PROFILE_VARIABLE: limits.profile}
    for variable, file in ((SAMPLER_FILE_VARIABLE, sampler_file), (MODULE_FILE_VARIABLE, module_file)):
        if file is not None:
            limits.check_own_file(variable)
            environment[variable] = str(file)
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
    return command, environment
