//! `cargo kernels build`: a preset to a crate, for this machine or for a device.

use crate::print;
use clap::Args;
use kernels_gen::build::{self, Emitted};
use kernels_gen::device::{self, Budget, Core, bytes};
use kernels_gen::spec::{REFERENCE, Spec};
use kernels_gen::{package, render, table, tree};
use measure::heads::Captured;
use miette::IntoDiagnostic;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(after_long_help = format!("A preset may say:\n\n{REFERENCE}"))]
pub(crate) struct Build {
    /// A preset, such as presets/smollm2-135m.toml.
    spec: PathBuf,
    /// A microcontroller's core: plan its memory, and emit the level scalar alone.
    #[arg(long, requires = "sram")]
    target: Option<Core>,
    /// Memory that can be written, weights excluded: 131072, 128K, 1M.
    #[arg(long, requires = "target", value_parser = bytes, value_name = "SIZE")]
    sram: Option<usize>,
    /// Memory for the program, weights excluded [default: any].
    #[arg(long, requires = "target", value_parser = bytes, value_name = "SIZE")]
    flash: Option<usize>,
    /// Where the crate goes [default: out/NAME].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Try it on heads captured from the model: errors, bounds, times.
    #[arg(long)]
    run: bool,
    /// As --run, with what it finds as one JSON object a line.
    #[arg(long, conflicts_with = "target")]
    json: bool,
    /// Draw where one captured head looks: attention.svg beside the crate.
    #[arg(long)]
    svg: bool,
}

pub(crate) fn build(arguments: &Build) -> miette::Result<ExitCode> {
    let spec = Spec::parse(&arguments.spec.to_string_lossy(), &tree::text(&arguments.spec)?)?;
    let wants_run = arguments.run || arguments.json;
    let wants_heads = wants_run || arguments.svg;
    let captured = if wants_heads { build::captured(&spec)? } else { Vec::new() };
    if let (Some(core), Some(sram)) = (arguments.target, arguments.sram) {
        let budget = Budget { core, sram, flash: arguments.flash };
        return build_for(&spec, budget, arguments, &captured);
    }
    let emitted = build::emit(&spec, arguments.out.as_deref())?;
    eprintln!("wrote {}", emitted.directory.display());
    say_parts(&spec);
    if arguments.svg {
        eprintln!("drew {}", emitted.draw(&spec, &captured)?.display());
    }
    if !wants_run {
        let text = emitted.compile(&spec)?;
        for name in package::linear_names(&spec) {
            let bytes = table::known(text.functions.get(&name).copied());
            eprintln!("{name}: {bytes} bytes of text");
        }
        return Ok(ExitCode::SUCCESS);
    }
    run(&spec, &emitted, arguments.json)
}

/// For a device: the plan of its memory, the crate, and its machine code.
fn build_for(
    spec: &Spec,
    budget: Budget,
    arguments: &Build,
    captured: &[Captured],
) -> miette::Result<ExitCode> {
    let plan = device::plan(spec, budget)?;
    print(&device::sram_table(&plan))?;
    let emitted = build::emit_for(spec, &plan, budget, arguments.out.as_deref())?;
    eprintln!("wrote {}", emitted.directory.display());
    let of_device = plan.spec(spec);
    if of_device.levels != spec.levels {
        eprintln!("{}: the level scalar alone, whatever `levels` says", budget.core);
    }
    if !spec.says_tile_k && of_device.tile_k != spec.tile_k {
        let (fewer, usual) = (of_device.tile_k, spec.tile_k);
        eprintln!(
            "tiles of {fewer} keys: the bits are those of other crates with `tile_k = {fewer}`, not {usual}"
        );
    }
    say_parts(spec);
    if arguments.svg {
        eprintln!("drew {}", emitted.draw(&of_device, captured)?.display());
    }
    match device::measure(&emitted, &of_device, &plan.entry_names(spec), budget)? {
        Some(flash) => print(&format!("\n{}", device::flash_table(&flash, budget.flash)))?,
        None => {
            let triple = budget.core.triple();
            eprintln!(
                "flash is not measured: there is no std for {triple}. Either of these brings it:"
            );
            eprintln!("  rustup target add {triple}");
            eprintln!("  rustup component add rust-src");
        }
    }
    if arguments.run { run(&of_device, &emitted, false) } else { Ok(ExitCode::SUCCESS) }
}

/// What there is beside attention.
fn say_parts(spec: &Spec) {
    if let Some(rope) = &spec.rope {
        eprintln!("rope: {rope}, {} bytes of flash", render::thousands(rope.bytes() as u64));
    }
    if let Some(linear) = &spec.linear {
        let bytes = render::thousands((linear.state_len * size_of::<f32>()) as u64);
        eprintln!("linear: {linear}, {bytes} bytes of state");
    }
}

fn run(spec: &Spec, emitted: &Emitted, as_json: bool) -> miette::Result<ExitCode> {
    let rows = emitted.run(spec)?;
    for level in spec.levels.iter().filter(|level| !level.is_available()) {
        eprintln!("skipped {level}: this processor lacks it");
    }
    let report =
        if as_json { table::json(&rows).into_diagnostic()? } else { table::measured(&rows) };
    print(&report)?;
    let exceeded = rows.iter().filter(|row| row.err_over_bound > 1.0).count();
    if exceeded > 0 {
        eprintln!("{exceeded} of {} rows exceed their certified bound", rows.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
