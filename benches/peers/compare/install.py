"""Brings the peers' packages into the comparison's own folder."""

import shutil
import subprocess
import sys
from pathlib import Path

from peer import Unavailable


def pip(*requirements: str) -> None:
    """Installs into the running environment; says nothing where all is there already."""
    _run(
        "pip",
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *requirements,
        ],
    )


def npm(folder: Path, package: str, version: str) -> Path:
    """Installs one package into `folder`, and returns its own."""
    if shutil.which("npm") is None:
        raise Unavailable("npm is missing")
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        "--prefix",
        str(folder),
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    _run("npm", ["npm", "install", *options, f"{package}@{version}"])
    return folder / "node_modules" / package


def _run(tool: str, command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(f"{tool} failed: {lines[-1] if lines else done.returncode}")
