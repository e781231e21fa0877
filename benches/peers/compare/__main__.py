"""Times flashlet against what else computes attention and rotary positions on a CPU.

Run by `../run.sh`; `../README.md` says how to read what it prints.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from contest import Contest
from ggml_peer import Ggml
from ort_peer import Ort
from peer import Peer, Unavailable, offers
from report import Comparison, Report, cpu_name
from rows import QUICK, ROWS, Row
from rust_peers import Rust
from timing import Effort, pin
from torch_peer import Torch

from ours import PRODUCTS, Ours

PEERS = {"torch": Torch, "ort": Ort, "ggml": Ggml, "rust": Rust}
USUAL = ["torch", "ort", "ggml"]  # Rust's take long to compile
EFFORT = Effort(seconds=4, turns=7)
QUICK_EFFORT = Effort(seconds=0.5, turns=3)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__.partition("\n")[0])
    add, names = parser.add_argument, ",".join(PEERS)
    add("--quick", action="store_true", help="contexts up to 1024, little time for each: noisy")
    add("--rows", type=regex, metavar="REGEX", help="only rows whose name it finds")
    add(
        "--peers",
        type=peers,
        metavar="NAMES",
        default=USUAL,
        help=f"of {names}; {','.join(USUAL)} if not given",
    )
    add("--products", choices=PRODUCTS, default="f32", help="ours: multiply in f32, or as stored")
    add("--json", type=file, metavar="FILE", help="write all numbers there")
    add("--markdown", type=file, metavar="FILE", help="write there what is printed, too")
    add("--list", action="store_true", help="print the names of the rows, and stop")
    parsed = parser.parse_args()
    rows = QUICK if parsed.quick else ROWS
    parsed.rows = [row for row in rows if parsed.rows is None or parsed.rows.search(row.name)]
    if not parsed.rows:
        parser.error("no row has such a name; --list prints them")
    return parsed


def regex(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise ArgumentTypeError(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return names


def file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ArgumentTypeError(f"{text!r} cannot be a file")
    return path


def load(names: list[str], folder: Path) -> tuple[list[Peer], dict[str, str]]:
    """The peers that are there; and for each, its version or why it is not."""
    loaded, versions = [], {}
    for name in names:
        progress(f"installing {name}")
        try:
            loaded.append(PEERS[name](folder))
            versions[name] = loaded[-1].version
        except Unavailable as reason:
            versions[name] = f"not compared: {reason}"
            progress(versions[name])
    return loaded, versions


def compare(rows: list[Row], ours: Ours, peers: list[Peer], effort: Effort) -> list[Comparison]:
    comparisons = []
    try:
        for n, row in enumerate(rows, 1):
            progress(f"{n}/{len(rows)} {row.name}")
            contest = Contest(ours, row, effort)
            for name, make in (offer for peer in peers for offer in offers(peer, row).items()):
                comparisons.append(contest.against(name, make))
                progress(f"    {comparisons[-1].progress()}")
    except KeyboardInterrupt:
        progress("interrupted: what follows is what there was until then")
    return comparisons


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    asked = arguments()
    if asked.list:
        print(*(row.name for row in asked.rows), sep="\n")
        return
    folder = Path(os.environ["PEERS_DIR"])
    try:
        ours = Ours(folder, asked.products)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"run.sh: flashlet does not build: {error}")
    loaded, versions = load(asked.peers, folder)
    conditions = {"processor": cpu_name(), "threads": f"1, {pin()}", "ours": ours.version}
    effort = QUICK_EFFORT if asked.quick else EFFORT
    report = Report(conditions | versions, compare(asked.rows, ours, loaded, effort))
    print(report.markdown())
    if asked.markdown:
        asked.markdown.write_text(report.markdown() + "\n", encoding="utf-8")
    if asked.json:
        asked.json.write_text(json.dumps(report.json(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("run.sh: interrupted before there was anything to report")
