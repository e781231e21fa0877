#!/usr/bin/env bash
# For cargo's RUSTC_WRAPPER: compiles what computes for the processor CPU; core stays what it is for the target, as LLVM cannot
# compile all of it for each.
set -euo pipefail
shopt -s extglob

rustc=$1
shift
case " $* " in
*' --crate-name '@(firmware|check|flashlet|wide|prompt|encoder|dense32|dense64|window|gated|integer|empty)' '*' --target '*)
    exec "$rustc" "$@" -C target-cpu="$CPU"
    ;;
*) exec "$rustc" "$@" ;;
esac
