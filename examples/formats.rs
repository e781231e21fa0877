//! What formats of a cache cost in accuracy, on heads of real models: `cargo run --release --example formats`.
//!
//! ```text
//! error          |o - o of f32| / |o of f32|, Euclidean norms over all queries of a file
//! keys turned    by the Hadamard rotation before they are rounded, and queries with them
//! keys alone     values stay f32
//! B              bytes of a number, scales included
//! integers       of a decoder's step: queries and weights in 8 bits too
//! ```
//! A cache is given the tokens of a text one at a time; then each query attends to what it may see.

use clap::Parser;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use flashlet::{
    Attention, CacheShape, E4m3, E5m2, Error, Format, Groups, Inputs, KvCache, Mask, Outputs,
    Precision, Q4_0, Q8_0, Scales, Shape, View, ViewMut,
};
use half::{bf16, f16};
use measure::exit;
use measure::heads::{Captured, load};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tokens that share scales, where some do.
const GROUP: usize = 16;

/// Errors of attention over caches in each format.
#[derive(Parser)]
struct Cli {
    /// Files of captured heads.
    #[arg(default_values_os_t = ["smollm2-l0", "smollm2-l18", "minilm-l0"]
        .map(|file| PathBuf::from(format!("{}/data/real-heads/{file}.safetensors", env!("CARGO_MANIFEST_DIR")))))]
    files: Vec<PathBuf>,
}

/// What codes are multiplied by.
#[derive(Clone, Copy, PartialEq)]
enum Scaling {
    None,
    ByToken,
    Affine,
    /// Of [`GROUP`] tokens: of each head, or of each channel with a zero point.
    Blocks,
    Channels,
}

/// The lists that a scaling needs.
#[derive(Default)]
struct Lists {
    scales: Vec<f32>,
    zeros: Vec<i8>,
    newest: Vec<f32>,
}

impl Scaling {
    fn lists(self, tokens: usize, heads: usize, dim: usize) -> Lists {
        let (count, zeros, newest) = match self {
            Scaling::None => (0, 0, 0),
            Scaling::ByToken => (tokens * heads, 0, 0),
            Scaling::Affine => (tokens * heads, tokens * heads, 0),
            Scaling::Blocks => (tokens / GROUP * heads, 0, GROUP * heads * dim),
            Scaling::Channels => {
                let all = tokens / GROUP * heads * dim;
                (all, all, GROUP * heads * dim)
            }
        };
        Lists { scales: vec![0.0; count], zeros: vec![0; zeros], newest: vec![0.0; newest] }
    }

    fn of(self, Lists { scales, zeros, newest }: &mut Lists) -> Scales<'_> {
        match self {
            Scaling::None => Scales::None,
            Scaling::ByToken => Scales::ByToken(scales),
            Scaling::Affine => Scales::Affine(scales, zeros),
            Scaling::Blocks => Scales::Groups(Groups::new(GROUP, scales, newest)),
            Scaling::Channels => Scales::Groups(Groups::new(GROUP, scales, newest).zeros(zeros)),
        }
    }

    /// Bytes of scales and zero points to a number.
    fn bytes(self, dim: usize) -> f64 {
        match self {
            Scaling::None => 0.0,
            Scaling::ByToken => 4.0 / dim as f64,
            Scaling::Affine => 5.0 / dim as f64,
            Scaling::Blocks => 4.0 / (GROUP * dim) as f64,
            Scaling::Channels => 5.0 / GROUP as f64,
        }
    }
}

/// A way to keep keys and values.
struct Way {
    name: &'static str,
    scalings: [Scaling; 2],
    precision: Precision,
    /// Outputs where keys are kept so, and values too or in f32.
    run: [Run; 2],
    bytes: f64,
}

type Run = fn(&Way, &Captured, bool) -> Result<Vec<f32>, Error>;

impl Way {
    fn new<F: Format>(name: &'static str, scalings: [Scaling; 2]) -> Self {
        let bytes = size_of::<F>() as f64 / F::CHANNELS as f64;
        let run = [attend::<F, f32>, attend::<F, F>];
        Way { name, scalings, precision: Precision::F32, run, bytes }
    }

    fn integers(self) -> Self {
        Way { precision: Precision::Int8Products, ..self }
    }

    fn bytes(&self, dim: usize) -> f64 {
        self.bytes + self.scalings.map(|scaling| scaling.bytes(dim)).iter().sum::<f64>() / 2.0
    }
}

fn ways() -> Vec<Way> {
    use Scaling::{Affine, Blocks, ByToken, Channels, None};
    vec![
        Way::new::<f16>("f16", [None; 2]),
        Way::new::<bf16>("bf16", [None; 2]),
        Way::new::<E4m3>("e4m3", [None; 2]),
        Way::new::<E4m3>("e4m3, by token", [ByToken; 2]),
        Way::new::<E4m3>("e4m3, by 16 tokens", [Blocks; 2]),
        Way::new::<E5m2>("e5m2", [None; 2]),
        Way::new::<i8>("int8, by token", [ByToken; 2]),
        Way::new::<i8>("int8, by token, zeros", [Affine; 2]),
        Way::new::<i8>("int8, KIVI", [Channels, Affine]),
        Way::new::<Q8_0>("q8_0", [None; 2]),
        Way::new::<Q4_0>("q4_0", [None; 2]),
        Way::new::<i8>("int8, by token: integers", [ByToken; 2]).integers(),
        Way::new::<Q8_0>("q8_0: integers", [None; 2]).integers(),
        Way::new::<Q4_0>("q4_0: integers", [None; 2]).integers(),
    ]
}

/// Outputs of all queries, one at a time.
fn attend<K: Format, V: Format>(
    way: &Way,
    file: &Captured,
    is_turned: bool,
) -> Result<Vec<f32>, Error> {
    let (heads, len) = (file.heads, file.len);
    let shape = CacheShape::new(heads, len);
    let mut keys = vec![K::default(); shape.key_len::<K>()];
    let mut values = vec![V::default(); shape.value_len::<V>()];
    let [of_keys, of_values] = way.scalings;
    // f32 has no scales.
    let of_values = if V::MOST.is_some() { of_values } else { Scaling::None };
    let mut k_lists = of_keys.lists(len, heads.kv, heads.dim);
    let mut v_lists = of_values.lists(len, heads.kv, heads.v_dim);
    let cache = KvCache::new(shape, &mut keys, &mut values)?;
    let cache = cache.scales(of_keys.of(&mut k_lists), of_values.of(&mut v_lists))?;
    let mut cache = if is_turned { cache.rotated() } else { cache };
    let k = View::packed(&file.k, [1, len, heads.kv, heads.dim])?;
    let v = View::packed(&file.v, [1, len, heads.kv, heads.v_dim])?;
    for i in 0..len {
        cache.append(k.tokens(i..i + 1)?, v.tokens(i..i + 1)?)?;
    }
    let mut o = vec![0.0; len * heads.q * heads.v_dim];
    let queries = file.q.chunks(heads.q * heads.dim).zip(o.chunks_mut(heads.q * heads.v_dim));
    for (i, (q, o)) in queries.enumerate() {
        let shape = Shape { batch: 1, q_len: 1, kv_len: len, heads };
        let seen = [if is_causal(file) { i + 1 } else { len }];
        let plan = Attention::new(shape, Mask::full())?.precision(way.precision);
        let mut scratch = vec![0.0; plan.scratch_len()];
        let inputs = Inputs::cached(View::packed(q, shape.q())?, &cache).kv_lens(&seen[..]);
        plan.bind(inputs, Outputs::new(ViewMut::packed(o, shape.o())?), &mut scratch)?.run();
    }
    Ok(o)
}

fn is_causal(file: &Captured) -> bool {
    file.about.get("mask").is_some_and(|mask| mask.starts_with("causal"))
}

/// The distance of outputs from those of f32.
fn error(o: &[f32], exact: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let apart = o.iter().zip(exact).map(|(o, exact)| square(f64::from(*o) - f64::from(*exact)));
    let size = exact.iter().map(|exact| square(f64::from(*exact)));
    (apart.sum::<f64>() / size.sum::<f64>()).sqrt()
}

/// A cell for each file: the error of a way, as it is and with turned keys.
fn table(title: &str, files: &[Captured], run: usize) -> Result<Table, Error> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    let about = |file: &Captured, key| file.about.get(key).cloned().unwrap_or_default();
    let name = |file: &Captured| {
        let model = about(file, "model");
        let model = model.split([',', ' ']).next().unwrap_or_default();
        let layer = about(file, "layer");
        format!("{model}, layer {}", layer.split(' ').next().unwrap_or_default())
    };
    let head = [title.to_owned(), "B".to_owned()];
    table.set_header(head.into_iter().chain(files.iter().map(name)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let f32s = Way::new::<f32>("f32", [Scaling::None; 2]);
    for way in ways() {
        let dim = files.iter().map(|file| file.heads.dim).max().unwrap_or(1);
        let mut row = vec![way.name.to_owned(), format!("{:.2}", way.bytes(dim))];
        for file in files {
            let exact = attend::<f32, f32>(&f32s, file, false)?;
            let error = |is_turned| Ok(error(&way.run[run](&way, file, is_turned)?, &exact));
            row.push(format!("{:.1e} / {:.1e}", error(false)?, error(true)?));
        }
        table.add_row(row);
    }
    Ok(table)
}

fn run(files: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let files = files.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    println!("Error of outputs relative to those of f32, keys as they are / keys turned.\n");
    for (run, title) in ["keys alone", "keys and values"].into_iter().enumerate() {
        println!("{}\n", table(title, &files, run)?);
    }
    Ok(())
}

fn main() -> ExitCode {
    exit::code(run(&Cli::parse().files))
}

#[test]
fn to_turn_keys_of_f32_costs_next_to_nothing() {
    let path = format!("{}/data/real-heads/smollm2-l18.safetensors", env!("CARGO_MANIFEST_DIR"));
    let file = load(path.as_ref()).expect("the file is in the repository");
    let way = Way::new::<f32>("f32", [Scaling::None; 2]);
    let [plain, turned] = [false, true]
        .map(|is_turned| attend::<f32, f32>(&way, &file, is_turned).expect("shapes agree"));
    let found = error(&turned, &plain);
    assert!(found > 0.0 && found < 1e-5, "{found}");
    assert_eq!(error(&plain, &plain), 0.0);
}
