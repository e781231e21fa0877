#!/usr/bin/env bash
# Runs one cargo command for another machine, whether or not rustup can fetch its std.
#
#   scripts/cross.sh TARGET COMMAND [CARGO_ARGS...]
#   scripts/cross.sh thumbv7em-none-eabihf build --package flashlet --no-default-features
#   scripts/cross.sh s390x-unknown-linux-gnu run --package check
#
# 1. The current toolchain has TARGET: plain cargo.
# 2. A toolchain at hand has std's source: it builds std too, for bare machines core (-Z build-std).
# 3. Neither: says how to get the one or the other, and fails.
#
# CPU names one processor of the target. Programs for another Linux are linked by its gcc and run by qemu-user. Output goes to target/cross, so
# that builds for this machine stay warm.
set -euo pipefail

if (($# < 2)); then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
target=$1 command=$2
shift 2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/cross

# The target's name as cargo's environment variables spell it.
variable=${target^^}
variable=CARGO_TARGET_${variable//[-.]/_}

# Node, browsers and wasmtime all have 128-bit SIMD; the target's default does without.
if [[ $target == wasm32-* ]]; then
    export "${variable}_RUSTFLAGS=-C target-feature=+simd128"
fi

host=$(rustc --version --verbose | sed -n 's/^host: //p')
if [[ $target == *-unknown-linux-gnu && $target != "$host" ]]; then
    gnu=${target/-unknown/}
    export "${variable}_LINKER=$gnu-gcc" "${variable}_RUNNER=qemu-${gnu%%-*} -L /usr/$gnu"
fi

# Cargo does not see what the wrapper adds, so another processor has a directory of its own.
if [[ -n ${CPU:-} ]]; then
    export CPU CARGO_TARGET_DIR=$CARGO_TARGET_DIR/$CPU RUSTC_WRAPPER=$root/scripts/rustc-for-cpu.sh
fi

if [[ -d $(rustc --print target-libdir --target "$target" 2>/dev/null) ]]; then
    exec cargo "$command" --target "$target" "$@"
fi

has_source() {
    [[ -x $1 && -d $("$1" --print sysroot)/lib/rustlib/src/rust/library ]]
}

sysroot=$(rustc --print sysroot)
if [[ $target == *-linux-* ]]; then
    # Backtraces would be a tenth of the time.
    std=(-Z build-std=std -Z build-std-features=panic-unwind)
else
    std=(-Z "build-std=core,alloc,compiler_builtins" -Z build-std-features=compiler-builtins-mem)
    # A distribution's toolchain has no linker for bare targets; rustup's has.
    lld=$sysroot/lib/rustlib/$host/bin/rust-lld
    [[ ! -x $lld ]] || export "${variable}_LINKER=$lld"
fi
for tools in "$sysroot/bin" /usr/bin; do
    if has_source "$tools/rustc"; then
        export RUSTC_BOOTSTRAP=1 RUSTC=$tools/rustc RUSTDOC=$tools/rustdoc
        exec "$tools/cargo" "$command" --target "$target" "${std[@]}" "$@"
    fi
done

cat >&2 <<HELP
cross.sh: no std for $target. Either of these brings it:
  rustup target add $target
  apt-get install rustc-web cargo-web rust-web-src   # Debian: builds std from source
HELP
exit 1
