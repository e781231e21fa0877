#!/usr/bin/env bash
# Counts the instructions of one call a case and level under valgrind, and compares them with
# benches/instructions.tsv: a slowdown shows on a busy machine too. It does not see cache misses.
#
#   scripts/instructions.sh            fails where a count is more than 3 % off, in either direction
#   scripts/instructions.sh --write    writes the table
#
# The counts belong to the compiler that the table names; with another one there is nothing to compare.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

table=benches/instructions.tsv
margin=3 # per cent: code that moved about changes less, a slowdown worth a look more
write=false
case $* in
    '') ;;
    --write) write=true ;;
    *)
        sed -n '5,6s/^# \{0,3\}//p' "$0" >&2
        exit 2
        ;;
esac

compiler=$(rustc --version --verbose | awk -F': ' '
    { of[$1] = $2 } END { print "rustc " of["release"] ", LLVM " of["LLVM version"] ", " of["host"] }')
if ! $write; then
    named=$(sed -n 's/^# compiler: //p' "$table")
    if [[ $named != "$compiler" ]]; then
        echo "instructions.sh: not compared: $table was counted with $named, this is $compiler"
        exit
    fi
fi

if ! command -v valgrind >/dev/null; then
    echo "instructions.sh: valgrind is missing; scripts/setup.sh installs it" >&2
    exit 1
fi

# The caller's flags would make other code than the one in the table.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo build --quiet --release --package measure --example one_call
one_call=${CARGO_TARGET_DIR:-target}/release/examples/one_call

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$one_call" >"$out/calls"

if $write && ! grep -q 'avx2$' "$out/calls"; then
    echo "instructions.sh: not written: this processor has no AVX2, whose lines would be lost" >&2
    exit 1
fi

while IFS=$'\t' read -r name level; do
    valgrind --quiet --tool=callgrind --callgrind-out-file="$out/callgrind" \
        --toggle-collect='*one_call::counted*' "$one_call" "$name" "$level" </dev/null
    instructions=$(sed -n 's/^totals: //p' "$out/callgrind")
    if ((${instructions:-0} == 0)); then
        echo "instructions.sh: nothing counted: valgrind did not find one_call::counted" >&2
        exit 1
    fi
    printf '%s\t%s\t%d\n' "$name" "$level" "$instructions"
done <"$out/calls" >"$out/counts"

if $write; then
    {
        echo '# scripts/instructions.sh --write (do not edit)'
        echo '# Instructions of one call under valgrind: case, level, count. They belong to one compiler.'
        echo "# compiler: $compiler"
        cat "$out/counts"
    } >"$table"
    echo "instructions.sh: wrote $table"
    exit
fi

# A line for each call, then what to do about those that are off.
awk -F'\t' -v margin="$margin" -v table="$table" '
    function line(what, remark) {
        split(what, of, FS)
        printf "%-36s %-8s %11s %11s  %s\n", of[1], of[2], was[what], now[what], remark
    }
    /^#/ { next }
    FILENAME == table { was[$1 FS $2] = $3; if (!listed[$1 FS $2]++) order[++lines] = $1 FS $2; next }
    { now[$1 FS $2] = $3; here[$2] = 1; if (!listed[$1 FS $2]++) order[++lines] = $1 FS $2 }
    END {
        printf "%-36s %-8s %11s %11s\n", "case", "level", "table", "now"
        for (i = 1; i <= lines; i++) {
            what = order[i]
            split(what, of, FS)
            if (!(what in was)) { line(what, "NEW"); strange++; continue }
            if (!here[of[2]]) { line(what, "skipped: this processor has no " of[2]); continue }
            if (!(what in now)) { line(what, "GONE"); strange++; continue }
            change = 100 * (now[what] / was[what] - 1)
            remark = ""
            if (change > margin) { remark = "  MORE"; more++ }
            if (change < -margin) { remark = "  FEWER"; fewer++ }
            line(what, sprintf("%+.2f %%%s", change, remark))
        }
        if (more) printf "\nMORE: %d, by over %s %%. Slower, most likely.\n", more, margin
        if (fewer) printf "\nFEWER: %d, by over %s %%. A table that lags behind hides the next slowdown.\n", fewer, margin
        if (strange) printf "\nNEW or GONE: %d. The table and measure/examples/one_call.rs disagree.\n", strange
        if (more + fewer + strange) {
            print "If that is as it should be, rewrite " table ": scripts/instructions.sh --write"
            exit 1
        }
    }' "$table" "$out/counts"
