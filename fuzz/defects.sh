#!/usr/bin/env bash
# Plants each classic bug of src/defect.rs and hunts for it from no corpus: executions and seconds until it is found, with
# guidance by errors and without; and whether a replay of corpus and found does, which is what `cargo test` runs: if not,
# what was found goes to found/TARGET. Fails if one is not found with guidance.
#
#   fuzz/defects.sh [SECONDS]    at most so many for each; 120 unless said
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source lib.sh

limit=${1:-120}
if ! [[ $limit =~ ^[1-9][0-9]*$ ]]; then
    sed -n '6s/^# \{0,3\}//p' "${0##*/}" >&2
    exit 2
fi

# Each with the target that ought to find it.
defects='
dropped_last_key     attend
missing_rescale      attend
max_from_zero        attend
l_in_bf16            attend
mask_before_softcap  extras
zero_times_nan       attend
merge_of_empty       state_merge
window_off_by_one    attend
f32_angles           rope
'

# hunt DEFECT TARGET ARGUMENTS: prints executions and seconds until a finding, or fails.
hunt() {
    local start=$EPOCHREALTIME found=true executions
    FLASHLET_DEFECT=$1 "$binaries/$2" -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$work/" "${@:3}" >"$log" 2>&1 && found=false
    executions=$(stat "$log" number_of_executed_units)
    printf ' %10s %8.1f' "${executions:-?}" \
        "$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
    $found || printf ' missed'
    $found
}

need_fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
# A build with bugs must not take the place of another. None of them is one of memory.
built=target/defects
binaries=$built/$(rustc -vV | sed -n 's/^host: //p')/release
echo 'building the targets ...' >&2
RUSTFLAGS='--cfg flashlet_defect' cargo +nightly fuzz build --sanitizer none \
    --target-dir "$built" >&2

missed=0
printf '%-32s %19s %19s %19s\n' '' guided 'by coverage alone' replay
printf '%-20s %-11s' defect target
printf ' %10s %8s' executions seconds executions seconds executions seconds
echo
while read -r defect target; do
    [[ -n $defect ]] || continue
    printf '%-20s %-11s' "$defect" "$target"
    hunt "$defect" "$target" -seed=1 -max_total_time="$limit" || missed=$((missed + 1))
    input=$(find "$work" -name 'crash-*' | head -n 1)
    HUNT_UNGUIDED=1 hunt "$defect" "$target" -seed=1 -max_total_time="$limit" || true
    mkdir -p "found/$target"
    hunt "$defect" "$target" -runs=0 "corpus/$target" "found/$target" ||
        { [[ -z $input ]] || cp "$input" "found/$target/$defect"; }
    rm -f "$work"/crash-*
    echo
done <<<"$defects"
exit $((missed > 0))
