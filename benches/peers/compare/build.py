"""Rust libraries that this folder holds, called through C."""

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def library(crate: str, folder: Path) -> Path:
    """Builds the crate `../<crate>`, below `folder` unless cargo is told otherwise."""
    manifest = str(HERE / crate / "Cargo.toml")
    target = os.environ.get("CARGO_TARGET_DIR", str(folder / "cargo"))
    command = ["cargo", "build", "--release", "--manifest-path", manifest, "--target-dir", target]
    command += ["--message-format", "json-render-diagnostics"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = map(json.loads, lines.splitlines())
    return next(
        Path(message["filenames"][0])
        for message in messages
        if message["reason"] == "compiler-artifact" and message["manifest_path"] == manifest
    )


def commit() -> str:
    """What git calls the tree that is built."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "of an unknown commit"
