#!/usr/bin/env bash
# Installs what cross.sh, check-hosts.sh and instructions.sh need and this machine lacks: std's source
# for targets rustup has not got, QEMU for the firmware, Node for the WASM module, valgrind for counts.
#
#   scripts/setup.sh
set -euo pipefail

has_cores() {
    local target
    for target in thumbv7em-none-eabihf riscv32imafc-unknown-none-elf wasm32-unknown-unknown; do
        [[ -d $(rustc --print target-libdir --target "$target" 2>/dev/null) ]] || return 1
    done
}

has_source() {
    [[ -d $("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library ]]
}

packages=()
if ! has_cores && ! has_source rustc; then
    [[ -x /usr/bin/cargo ]] && has_source /usr/bin/rustc || packages+=(rustc-web cargo-web rust-web-src)
fi
command -v qemu-system-arm >/dev/null || packages+=(qemu-system-arm)
command -v node >/dev/null || packages+=(nodejs)
command -v valgrind >/dev/null || packages+=(valgrind)

if ((${#packages[@]} == 0)); then
    echo "setup.sh: nothing is missing"
    exit
fi

# Recommended packages are left out: those of QEMU conflict with an installed qemu-utils.
install=(apt-get install --yes --no-install-recommends "${packages[@]}")
if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "setup.sh: please install what ${packages[*]} bring, on Debian by: sudo ${install[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
"${install[@]}"
