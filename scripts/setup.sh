#!/usr/bin/env bash
# Installs what cross.sh, check-hosts.sh and instructions.sh need and this machine lacks: std's source
# for targets rustup has not got, C linkers for those with an OS, QEMU for the firmware and for programs
# of other machines, Node for the WASM module, valgrind for counts.
#
#   scripts/setup.sh
set -euo pipefail

has_targets() {
    local target
    for target in {aarch64,s390x}-unknown-linux-gnu wasm32-unknown-unknown \
        thumb{v6m-none-eabi,v7em-none-eabihf,v8m.main-none-eabihf} riscv32imafc-unknown-none-elf; do
        [[ -d $(rustc --print target-libdir --target "$target" 2>/dev/null) ]] || return 1
    done
}

has_source() {
    [[ -d $("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library ]]
}

packages=()
if ! has_targets && ! has_source rustc; then
    [[ -x /usr/bin/cargo ]] && has_source /usr/bin/rustc || packages+=(rustc-web cargo-web rust-web-src)
fi
# Another Linux, as gcc and as Debian call it: its linker and its C library.
for names in aarch64:arm64 s390x:s390x; do
    gnu=${names%:*}
    if [[ $(uname -m) != "$gnu" ]]; then
        command -v "$gnu-linux-gnu-gcc" >/dev/null || packages+=("gcc-$gnu-linux-gnu")
        [[ -d /usr/$gnu-linux-gnu/include ]] || packages+=("libc6-dev-${names#*:}-cross")
    fi
done
command -v qemu-aarch64 >/dev/null && command -v qemu-s390x >/dev/null || packages+=(qemu-user)
command -v qemu-system-arm >/dev/null || packages+=(qemu-system-arm)
command -v qemu-system-riscv32 >/dev/null || packages+=(qemu-system-misc)
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
