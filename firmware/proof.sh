#!/usr/bin/env bash
# Builds all that a caller can do (tests/fixtures/caller) for microcontrollers, and fails if it holds a panic, an allocation, or
# calls anything but the compiler's own arithmetic and copies.
#
#   firmware/proof.sh [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=("$@")
((${#targets[@]})) || targets=(thumbv6m-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabihf riscv32imafc-unknown-none-elf)
# Integer division, floats where no unit computes them, copies: of the compiler's runtime, which allocates and panics nowhere.
known='^(__aeabi_[a-z0-9]+|__[a-z]+[sdt]i[234]|__[a-z]+[sd]f[23si]*|__(fix|float)[a-z]+|mem(cpy|move|set|cmp|clr)|bcmp|fminf?|fmaxf?|f(floor|ceil|trunc)f?|__unordsf2)$'
failed=false

for target in "${targets[@]}"; do
    scripts/cross.sh "$target" build --quiet --release --manifest-path tests/fixtures/caller/Cargo.toml
    library=${CARGO_TARGET_DIR:-target}/cross/$target/release/libcaller.a
    # Fat LTO leaves what is ours in one object, beside the compiler's own.
    symbols=$(readelf --wide --symbols "$library" | awk '/^File:/ { ours = /\(caller-/ } ours && NF >= 8 { print $4, $7, $8, $3 }')
    # kind, section (UND: needed from elsewhere), name, size
    bad=$(awk '$3 ~ /panic|unwrap_failed|expect_failed|__rust_alloc|malloc|slice_index|a_panic_was_compiled_in/ { print $3 }' <<<"$symbols")
    needed=$(awk '$2 == "UND" && $3 != "" { print $3 }' <<<"$symbols" | sort -u)
    unknown=$(grep -Ev "$known" <<<"$needed" || true)
    text=$(awk '$1 == "FUNC" { sum += $4 } END { print sum }' <<<"$symbols")
    if [[ -z $symbols || -n $bad$unknown ]]; then
        failed=true
        printf 'FAIL  %s\n' "$target"
        printf '      %s\n' $bad $unknown
    else
        printf 'ok    %-30s  %9d bytes of functions, no panic, no allocation; needs %d functions of the runtime\n' \
            "$target" "$text" "$(wc -w <<<"$needed")"
    fi
done
[[ $failed == false ]]
