#!/usr/bin/env bash
# Builds the cases of `check` for microcontrollers, runs each under QEMU, and prints one table: instructions of a call, stack,
# memory, flash, the largest error as a share of its bound, and a digest of the bits. Fails if an error is above its bound, or if
# machines differ by a bit.
#
#   firmware/run.sh [--json] [--check | --write] [MACHINE...]      of m0 m4f m7 m33 m55 rv32; all unless said
#
# --check fails too where a count is not what measured.tsv says, give or take 3 %; --write changes that file.
#
# Targets come from rustup, or std is built from its source (scripts/cross.sh). Needs QEMU, readelf and Node.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

all=(m0 m4f m7 m33 m55 rv32)
options=() machines=()
for argument in "$@"; do
    case $argument in
    --json | --check | --write) options+=("$argument") ;;
    m0 | m4f | m7 | m33 | m55 | rv32) machines+=("$argument") ;;
    *)
        sed -n '6s/^# \{0,3\}//p' run.sh >&2
        exit 2
        ;;
    esac
done
((${#machines[@]})) || machines=("${all[@]}")

for tool in qemu-system-{arm,riscv32} readelf node; do
    if ! command -v "$tool" >/dev/null; then
        echo "run.sh: $tool is missing; scripts/setup.sh installs QEMU and Node" >&2
        exit 1
    fi
done

# Of each machine: its target, its processor as LLVM calls it, and QEMU's board.
declare -A targets=(
    [m0]=thumbv6m-none-eabi [m4f]=thumbv7em-none-eabihf [m7]=thumbv7em-none-eabihf
    [m33]=thumbv8m.main-none-eabihf [m55]=thumbv8m.main-none-eabihf [rv32]=riscv32imafc-unknown-none-elf
)
# Where it differs from what the target stands for by more than a schedule: Helium.
declare -A processors=([m55]=cortex-m55)
declare -A boards=([m0]=microbit [m4f]=mps2-an386 [m7]=mps2-an500 [m33]=mps2-an505 [m55]=mps3-an547 [rv32]='virt -bios none')
# What fits 16 KB of memory.
declare -A cases=([m0]='prompt encoder gated integer')
every='prompt encoder dense32 dense64 window gated integer'

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=false

# board MACHINE PROGRAM: every instruction takes the same time, so that clocks count them.
board() {
    local qemu=qemu-system-arm shift=10,sleep=off
    [[ $1 != rv32 ]] || qemu=qemu-system-riscv32 shift=0
    # shellcheck disable=SC2086
    timeout 300 $qemu -machine ${boards[$1]} -nographic -icount shift=$shift \
        -semihosting-config enable=on,target=native -kernel "$2" </dev/null
}

# A case and its program.
for machine in "${machines[@]}"; do
    target=${targets[$machine]}
    read -ra wanted <<<"${cases[$machine]:-$every}"
    FIRMWARE_MACHINE=$machine CPU=${processors[$machine]:-} ../scripts/cross.sh "$target" build --quiet \
        --release --bin empty "${wanted[@]/#/--bin=}" 1>&2
    programs=${CARGO_TARGET_DIR:-../target}/cross/${processors[$machine]:-}/$target/release
    for program in empty "${wanted[@]}"; do
        readelf --wide --sections --symbols "$programs/$program" >"$out/$machine.$program.elf"
        if ! board "$machine" "$programs/$program" >"$out/$machine.$program.json"; then
            echo "run.sh: $program failed on $machine:" >&2
            cat "$out/$machine.$program.json" >&2
            failed=true
        fi
    done
done

node table.mjs "${options[@]}" "$out" "${machines[@]}"
[[ $failed == false ]]
