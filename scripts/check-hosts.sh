#!/usr/bin/env bash
# The real heads and their rotary positions on five kinds of machine: this one, a WASM engine, and under
# QEMU a Cortex-M4F, aarch64 with NEON, and s390x, which is big-endian. Prints one table; fails if an error
# is above its certified bound or if hosts differ by a bit.
#
#   scripts/check-hosts.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in node qemu-system-arm qemu-{aarch64,s390x} {aarch64,s390x}-linux-gnu-gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "check-hosts.sh: $tool is missing; scripts/setup.sh installs it" >&2
        exit 1
    fi
done

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=true

# on HOST COMMAND...: keeps the lines that COMMAND prints. A failed run is shown, not fatal: the
# table says more about it.
on() {
    local host=$1
    shift
    "$@" >"$out/$host" || {
        echo "check-hosts.sh: $host failed" >&2
        passed=false
    }
}

on host cargo run --quiet --release --package check -- --json

wasm=wasm32-unknown-unknown
scripts/cross.sh $wasm rustc --quiet --release --package check --lib --crate-type cdylib
on wasm node scripts/check-wasm.mjs "${CARGO_TARGET_DIR:-target}/cross/$wasm/release/check.wasm"

# From its own directory, where cargo finds the runner.
on firmware timeout 600 env --chdir firmware \
    ../scripts/cross.sh thumbv7em-none-eabihf run --quiet --release --bin check </dev/null

for arch in aarch64 s390x; do
    on $arch scripts/cross.sh $arch-unknown-linux-gnu run --quiet --release --package check -- --json
done

node scripts/compare-hosts.mjs "$out"/{host,wasm,firmware,aarch64,s390x}
$passed
