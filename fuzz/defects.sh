#!/usr/bin/env bash
# Plants each classic bug of src/defect.rs and hunts for it from no corpus: executions and seconds until it is found, with
# guidance by errors and without. Fails if one is not found with guidance.
#
#   fuzz/defects.sh [SECONDS]    at most so many for each; 120 unless said
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source lib.sh

limit=${1:-120}
if ! [[ $limit =~ ^[1-9][0-9]*$ ]]; then
    sed -n '6s/^# \{0,3\}//p' "$0" >&2
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

# hunt TARGET: prints executions and seconds until a finding, or fails.
hunt() {
    local start=$EPOCHREALTIME found=true
    "$binaries/$1" -max_total_time="$limit" -max_len=4096 -print_final_stats=1 \
        -seed=1 -artifact_prefix="$work/" >"$log" 2>&1 && found=false
    local executions
    executions=$(stat "$log" number_of_executed_units)
    printf '%10s %8.1f' "${executions:-?}" \
        "$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
    $found
}

need_fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
# Builds with a bug must not take the place of others; none of them is one of memory.
built=target/defects
binaries=$built/$(rustc -vV | sed -n 's/^host: //p')/release

missed=0
printf '%-20s %-12s %19s %19s\n' '' '' guided 'by coverage alone'
printf '%-20s %-12s %10s %8s %10s %8s\n' defect target executions seconds executions seconds
while read -r defect target; do
    [[ -n $defect ]] || continue
    RUSTFLAGS="--cfg flashlet_defect=\"$defect\"" cargo +nightly fuzz build --sanitizer none --target-dir "$built" "$target" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; exit 1; }
    printf '%-20s %-12s' "$defect" "$target"
    hunt "$target" || { missed=$((missed + 1)); printf ' missed'; }
    HUNT_UNGUIDED=1 hunt "$target" || printf ' missed'
    echo
done <<<"$defects"
exit $((missed > 0))
