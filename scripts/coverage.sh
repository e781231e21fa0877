#!/usr/bin/env bash
# Lines and branches of src/ that the tests run, a line for each module: what a reader may doubt first. A branch has two sides;
# which branches are left out says scripts/coverage.mjs.
#
#   scripts/coverage.sh               the table
#   scripts/coverage.sh shape cache   and every branch of these modules that goes but one way, or none
#   ONLY='masks:: errors::' scripts/coverage.sh mask    by some tests alone: all of them take half an hour of a core
#
# Needs a nightly toolchain, for branches, and llvm-profdata and llvm-cov of its LLVM or a later one: on Debian
# apt-get install llvm-22, or name their suffix by LLVM=-22.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suffix=${LLVM:--22}
for tool in "llvm-profdata$suffix" "llvm-cov$suffix" node; do
    if ! command -v "$tool" >/dev/null; then
        echo "coverage.sh: $tool is missing" >&2
        exit 1
    fi
done
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "coverage.sh: a nightly toolchain is missing: rustup toolchain install nightly" >&2
    exit 1
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/coverage
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Tests that build a crate of their own would not count: they run what they built.
build=(cargo +nightly test --quiet --package flashlet --lib --test suite --test corpus --no-run)
RUSTFLAGS='-Cinstrument-coverage -Zcoverage-options=branch' LLVM_PROFILE_FILE=/dev/null \
    "${build[@]}" --message-format json >"$out/messages"
mapfile -t programs < <(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$out/messages")

read -ra only <<<"${ONLY:-}"
# One profile a program.
for n in "${!programs[@]}"; do
    if ! LLVM_PROFILE_FILE="$out/$n.profraw" "${programs[n]}" --quiet "${only[@]}" \
        >"$out/log" 2>&1 </dev/null; then
        tail -n 40 "$out/log" >&2
        echo "coverage.sh: ${programs[n]} failed" >&2
        exit 1
    fi
done

"llvm-profdata$suffix" merge --sparse "$out"/*.profraw --output "$out/profile"
objects=("${programs[@]:1}")
objects=("${objects[@]/#/--object=}")
"llvm-cov$suffix" export --skip-functions --instr-profile "$out/profile" \
    "${programs[0]}" "${objects[@]}" src >"$out/coverage.json"
node scripts/coverage.mjs "$out/coverage.json" "$@"
