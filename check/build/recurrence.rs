//! Linear attention over the tokens of a real head: every rule, with gates made from its keys.

use std::fmt::Write;
use std::path::Path;

use oracle::Format;
use oracle::linear::{Arithmetic, Features, Gate, Problem, Rule, certify};

use crate::head::Head;
use crate::numbers::{numbers, round_up, write};

const FILE: &str = "smollm2-l0";
/// Two chunks and a part of one; value channels that are no whole vector.
const TOKENS: usize = 37;
const V_DIM: usize = 20;
/// Tokens of a chunk of flashlet; the table asserts that it is the crate's.
const CHUNK: usize = 16;

/// Each gate and each rule.
#[rustfmt::skip]
const FAMILIES: [(&str, &str, &str); 5] = [
    ("retnet", "Head", "Add"),
    ("gated-delta", "Token", "Delta"),
    ("kda", "Channel", "Delta"),
    ("rwkv6", "Channel", "Bonus"),
    ("rwkv7", "Channel", "LowRank"),
];

/// Writes `recurrence.rs`, the table of recurrences, and the numbers that it refers to.
pub(crate) fn embed(dir: &Path) {
    let head = Head::read(FILE);
    let d_k = head.shape.head_dim;
    let rows = |all: &[f32], heads: usize, width: usize| -> Vec<f32> {
        let rows = all.chunks_exact(d_k).step_by(heads).take(TOKENS);
        rows.flat_map(|row| &row[..width]).copied().collect()
    };
    let q = rows(&head.q, head.shape.q_heads, d_k);
    let k = rows(&head.k, head.shape.kv_heads, d_k);
    let v = rows(&head.v, head.shape.kv_heads, V_DIM);
    let gates: Vec<f32> = k.iter().map(|k| -(k * k) / 16.0).collect();
    let beta: Vec<f32> = k.iter().map(|k| 1.0 / (1.0 + k * k)).take(TOKENS).collect();
    let bonus: Vec<f32> = q[..d_k].to_vec();
    let a: Vec<f32> = k.iter().map(|k| k / 64.0).collect();
    let b: Vec<f32> = q.iter().map(|q| -q / 64.0).collect();

    let mut table = String::new();
    for (name, gate, rule) in FAMILIES {
        let problem = Problem {
            d_k,
            d_v: V_DIM,
            q: &q,
            k: &k,
            v: &v,
            gate: match gate {
                "Head" => Gate::Head(gates[0]),
                "Token" => Gate::Token(&gates[..TOKENS]),
                _ => Gate::Channel(&gates),
            },
            rule: match rule {
                "Add" => Rule::Add,
                "Bonus" => Rule::Bonus(&bonus),
                "Delta" => Rule::Delta(&beta),
                _ => Rule::LowRank { a: &a, b: &b },
            },
            features: Features::Identity,
            l2: Some(1e-6),
            scale: head.scale,
            state: &vec![0.0; d_k * V_DIM],
            normaliser: None,
        };
        for (form, chunk) in [("Recurrent", 1), ("Chunked", CHUNK)] {
            let of = |fused| {
                let (output, state) = (Format::F32, Format::F32);
                certify(&problem, Arithmetic { fused, chunk, output, state })
            };
            let (fused, unfused) = (of(true), of(false));
            let limits: Vec<f32> = fused
                .o_bound
                .iter()
                .zip(&unfused.o_bound)
                .map(|(a, b)| round_up(a.max(*b)))
                .collect();
            let case = format!("{name}-{form}").to_lowercase();
            writeln!(
                table,
                "    Recurrence {{\n        name: {case:?},\n        \
                 family: Family {{ gate: Gate::{gate}, rule: Rule::{rule} }},\n        \
                 form: Form::{form},\n        exact: {},\n        limits: {},\n    }},",
                numbers(dir, &format!("{case}.exact"), &fused.o),
                numbers(dir, &format!("{case}.limits"), &limits),
            )
            .expect("a String takes all");
        }
    }
    let mut text = format!(
        "/// Every rule in both forms, over the same tokens.\n\
         pub static RECURRENCES: [Recurrence; {}] = [\n{table}];\n\n\
         pub(crate) const TOKENS: usize = {TOKENS};\n\
         pub(crate) const DIMS: [usize; 2] = [{d_k}, {V_DIM}];\n\
         const _: () = assert!(flashlet::CHUNK == {CHUNK}, \"the oracle's chunks are the crate's\");\n\n",
        2 * FAMILIES.len(),
    );
    for (name, all) in [
        ("Q", &q),
        ("K", &k),
        ("V", &v),
        ("GATES", &gates),
        ("BETA", &beta),
        ("BONUS", &bonus),
        ("A", &a),
        ("B", &b),
    ] {
        let read = numbers(dir, &format!("recurrence.{name}"), all);
        writeln!(text, "pub(crate) static {name}: &[f32] = {read};").expect("a String takes all");
    }
    write(&dir.join("recurrence.rs"), text.as_bytes());
}
