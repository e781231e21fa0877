#!/usr/bin/env bash
# Runs tests where memory errors show: under AddressSanitizer on every level of this processor, then under valgrind's
# memcheck, which also sees numbers that nobody has written; it knows no AVX-512, so that AVX2 is the highest level there.
# Prints a line for each program and fails on a finding.
#
#   scripts/sanitize.sh            the suite, the corpora and the fences under AddressSanitizer; some of them under valgrind
#   scripts/sanitize.sh flush      these programs alone
#
# Needs a nightly toolchain and valgrind. Tests that build crates of their own are left out: nothing of them is watched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in valgrind cargo; do
    if ! command -v "$tool" >/dev/null; then
        echo "sanitize.sh: $tool is missing; scripts/setup.sh installs valgrind" >&2
        exit 1
    fi
done
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "sanitize.sh: a nightly toolchain is missing: rustup toolchain install nightly" >&2
    exit 1
fi

tests=("${@:-}")
[[ -n ${tests[0]} ]] || tests=(suite corpus flush)
target=$(rustc --version --verbose | sed -n 's/^host: //p')
root=${CARGO_TARGET_DIR:-target}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# programs CARGO_ARGS...: builds the tests and prints where they are.
programs() {
    cargo "$@" --quiet --package flashlet "${tests[@]/#/--test=}" --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

# watched NAME COMMAND...: runs COMMAND and says whether it found anything.
watched() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$log" 2>&1 </dev/null; then
        printf 'ok    %4d s  %s: %s\n' $((SECONDS - start)) "$name" \
            "$(sed -n 's/^test result: ok. \([0-9]* passed\).*/\1/p' "$log")"
    else
        failed=1
        printf 'FAIL  %4d s  %s: %s\n' $((SECONDS - start)) "$name" "$*"
        tail -n 60 "$log" | sed 's/^/    | /'
    fi
}

# What the tests leak they leak on purpose.
export ASAN_OPTIONS=detect_leaks=0
found=$(CARGO_TARGET_DIR=$root/asan RUSTFLAGS=-Zsanitizer=address \
    programs +nightly test --target "$target")
for program in $found; do
    name=$(basename "$program")
    watched "address: ${name%-*}" "$program" --quiet
done

# Fifty times slower: what meets every kernel, once.
declare -A some=(
    [suite]='special_values_come_out generated_entries strides_do_not merged_splits'
    [flush]='attention::states positions:: a_fence'
    [corpus]=''
)
found=$(CARGO_TARGET_DIR=$root programs test)
for program in $found; do
    name=$(basename "$program")
    name=${name%-*}
    read -ra filters <<<"${some[$name]:-}"
    if ((${#filters[@]})); then
        watched "memcheck: $name" valgrind --quiet --error-exitcode=9 --leak-check=no \
            "$program" --quiet --test-threads=1 "${filters[@]}"
    fi
done
exit $failed
