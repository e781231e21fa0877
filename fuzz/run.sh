#!/usr/bin/env bash
# Hunts for numeric instability: every target for so many seconds, from its corpus on, which is then minimised. One line
# a target; fails if one found something: once that is mended, its input goes to found/TARGET, where `cargo test` replays it.
#
#   fuzz/run.sh SECONDS [TARGET...]
#   SANITIZER=none fuzz/run.sh SECONDS      without AddressSanitizer: numbers alone, several times as many
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source lib.sh

seconds=${1:-}
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    sed -n '5s/^# \{0,3\}//p' "${0##*/}" >&2
    exit 2
fi
shift
(($#)) || set -- $(targets)

need_fuzz
# Each kind of build has a place of its own.
build=(--sanitizer "${SANITIZER:-address}" --target-dir "target/${SANITIZER:-address}")
echo 'building the targets ...' >&2
cargo +nightly fuzz build "${build[@]}" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
printf '%-12s %12s %8s %14s %12s  %s\n' target executions corpus checks error/bound findings
for target; do
    mkdir -p "corpus/$target"
    findings=none
    if ! cargo +nightly fuzz run "${build[@]}" "$target" -- -max_total_time="$seconds" -max_len=4096 \
        -timeout=60 -print_final_stats=1 >"$log" 2>&1; then
        failed=1
        findings=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        sed -n '/panicked at/,/stack backtrace/p' "$log" | head -n 20 >&2
    fi
    executions=$(stat "$log" number_of_executed_units)
    seen=$(sed -n 's/^hunt: [0-9]* verdicts, \([0-9]*\) checks, worst error\/bound \(.*\)$/\1 \2/p' "$log" | tail -n 1)
    cargo +nightly fuzz cmin "${build[@]}" "$target" -- -max_len=4096 -use_counters=0 >"$log" 2>&1 || { failed=1; tail -n 5 "$log" >&2; }
    files=$(find "corpus/$target" -type f | wc -l)
    printf '%-12s %12s %8s %14s %12s  %s\n' "$target" "${executions:-?}" "$files" \
        "${seen% *}" "${seen#* }" "${findings:-?}"
done
exit "$failed"
