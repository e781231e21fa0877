#!/usr/bin/env bash
# Changes src/ in one place at a time, and says which changes no test notices: by cargo-mutants, which is installed if it is
# missing. Intrinsics, what is generated and what is planted on purpose are left out. Lists stay in target/mutants.out.
#
#   scripts/mutants.sh 'src/mask/**' src/view.rs     of these files
#   SHARD=0/12 scripts/mutants.sh 'src/**'           every twelfth change: all of them take days
#
# TESTS are prefixes of the tests that judge: those of shapes, masks and caches unless said. Built without optimisation,
# which is what makes a change quick to build; of tests that compute for minutes then, the corpora stand in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# == 0)); then
    sed -n '5,6s/^# \{0,3\}//p' "scripts/${BASH_SOURCE[0]##*/}" >&2
    exit 2
fi
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants

default='mask:: shape:: view:: plan:: cache:: tiling:: sight:: rounding:: attend::the_corpus extras::the_corpus
    cache::the_corpus errors:: masks:: varlen:: caches:: cache_errors:: cache_groups:: patterns:: pattern_errors::
    heads::'
read -ra tests -d '' <<<"${TESTS:-$default}" || true

export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1
exec cargo mutants --package flashlet --no-default-features --features std --output target \
    --exclude 'src/simd/**' --exclude 'src/generated*' --exclude 'src/generated/**' \
    --exclude src/defect.rs "${@/#/--file=}" --shard "${SHARD:-0/1}" --sharding round-robin \
    --timeout 300 --colors never --cargo-arg=--lib --cargo-arg=--test=corpus \
    --cargo-arg=--test=suite -- -- "${tests[@]}" --skip compositions_are --skip linear_errors \
    --skip values_that_begin_the_keys
