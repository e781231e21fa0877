# What run.sh and defects.sh share; to be sourced.

# Installs nightly Rust and cargo-fuzz if they are missing.
need_fuzz() {
    cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
    cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
}

# Targets, as Cargo.toml has them.
targets() {
    sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' Cargo.toml
}

# stat LOG NAME: a figure of libFuzzer's last report.
stat() {
    sed -n "s/^stat::$2: *//p" "$1" | tail -n 1
}
