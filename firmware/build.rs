//! Hands the linker the memory map of the machine, and the program its name.
//!
//! `FIRMWARE_MACHINE` chooses among those that share a target; QEMU's boards, by its documentation of each.

use std::path::PathBuf;

/// Name, target, and what its board calls memory: `[origin, length]` of flash and of RAM.
const MACHINES: [(&str, &str, [&str; 2], [&str; 2]); 6] = [
    ("m0", "thumbv6m-none-eabi", ["0x0", "256K"], ["0x20000000", "16K"]),
    ("m4f", "thumbv7em-none-eabihf", ["0x0", "4M"], ["0x20000000", "4M"]),
    ("m7", "thumbv7em-none-eabihf", ["0x0", "4M"], ["0x20000000", "4M"]),
    ("m33", "thumbv8m.main-none-eabihf", ["0x10000000", "4M"], ["0x38000000", "4M"]),
    ("m55", "thumbv8m.main-none-eabihf", ["0x0", "512K"], ["0x21000000", "2M"]),
    ("rv32", "riscv32imafc-unknown-none-elf", ["0x80000000", "8M"], ["0x80800000", "8M"]),
];

fn main() {
    println!("cargo::rerun-if-env-changed=FIRMWARE_MACHINE");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    let chosen = std::env::var("FIRMWARE_MACHINE").ok();
    let found = MACHINES.iter().find(|(name, of, ..)| {
        *of == target && chosen.as_ref().is_none_or(|chosen| chosen == name)
    });
    let Some((name, _, flash, ram)) = found else {
        panic!("no machine {} of {target}", chosen.as_deref().unwrap_or("at all"))
    };
    let is_arm = target.starts_with("thumb");
    let region = |name, [origin, length]: &[&str; 2]| {
        format!("  {name} : ORIGIN = {origin}, LENGTH = {length}\n")
    };
    let mut map = format!("MEMORY\n{{\n{}{}}}\n", region("FLASH", flash), region("RAM", ram));
    if !is_arm {
        for (alias, region) in [
            ("TEXT", "FLASH"),
            ("RODATA", "FLASH"),
            ("DATA", "RAM"),
            ("BSS", "RAM"),
            ("HEAP", "RAM"),
            ("STACK", "RAM"),
        ] {
            map += &format!("REGION_ALIAS(\"REGION_{alias}\", {region});\n");
        }
        println!("cargo::rustc-link-arg=-Tmemory.x");
    }
    let dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(dir.join("memory.x"), map).expect("OUT_DIR can be written");
    println!("cargo::rustc-link-search={}", dir.display());
    println!("cargo::rustc-link-arg=-Tlink.x");
    println!("cargo::rustc-env=MACHINE={name}");
}
