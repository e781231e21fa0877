//! The Rust table of the cases, which refers to files of their numbers.

use std::fmt::Write;
use std::path::PathBuf;

use crate::expect::{Expected, Limits};
use crate::head::Head;
use crate::numbers::{numbers, write};
use crate::{Sight, Spec, TILE_K};

pub(crate) struct Embedder {
    dir: PathBuf,
    /// The lines of `CASES`.
    table: String,
    /// The small cases: each a static of its own, so that a device holds one of them.
    small: String,
    cases: usize,
    max_o: usize,
    max_lse: usize,
}

impl Embedder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, table: String::new(), small: String::new(), cases: 0, max_o: 0, max_lse: 0 }
    }

    /// Adds one case to the table and writes its numbers.
    pub(crate) fn case(&mut self, spec: &Spec, head: &Head, expected: &Expected) {
        self.cases += 1;
        self.max_o = self.max_o.max(expected.o.len());
        self.max_lse = self.max_lse.max(expected.lse.len());
        let case = self.text(spec.name, spec.sight, head, expected);
        writeln!(self.table, "    {case},").expect("a String takes all");
    }

    /// Adds a case that stands alone.
    pub(crate) fn small(&mut self, name: &str, sight: Sight, head: &Head, expected: &Expected) {
        let case = self.text(name, sight, head, expected);
        let constant = name.replace('-', "_").to_uppercase();
        let text = format!("pub(crate) static {constant}: Case = {case};\n");
        self.small.push_str(&text);
    }

    /// The expression of a case, whose numbers are written.
    fn text(&self, name: &str, sight: Sight, head: &Head, expected: &Expected) -> String {
        let oracle::Shape { q_len, kv_len, q_heads, kv_heads, head_dim, v_dim, .. } = head.shape;
        let dir = &self.dir;
        let f32s = |part: &str, all: &[f32]| numbers(dir, &format!("{name}.{part}"), all);
        let f64s = |part: &str, all: &[f64]| numbers(dir, &format!("{name}.{part}"), all);
        let limits = |part: &str, limits: &Limits| {
            let o = f32s(&format!("{part}-o"), &limits.o);
            let lse = f32s(&format!("{part}-lse"), &limits.lse);
            format!("Limits {{ o: {o}, lse: {lse} }}")
        };

        let heads =
            format!("Heads {{ q: {q_heads}, kv: {kv_heads}, dim: {head_dim}, v_dim: {v_dim} }}");
        let mask = mask(sight, kv_len - q_len);
        let (q, k, v) = (f32s("q", &head.q), f32s("k", &head.k), f32s("v", &head.v));
        let (o, lse) = (f64s("o", &expected.o), f64s("lse", &expected.lse));
        let (fused, unfused) =
            (limits("fused", &expected.fused), limits("unfused", &expected.unfused));
        let lines = [
            format!("name: {name:?}"),
            format!(
                "shape: Shape {{ batch: 1, q_len: {q_len}, kv_len: {kv_len}, heads: {heads} }}"
            ),
            format!("scale: {:?}", head.scale),
            format!("mask: {mask}"),
            format!("q: {q}"),
            format!("k: {k}"),
            format!("v: {v}"),
            format!("exact: Exact {{ o: {o}, lse: {lse} }}"),
            format!("fused: {fused}"),
            format!("unfused: {unfused}"),
        ];
        format!("Case {{\n        {},\n    }}", lines.join(",\n        "))
    }

    /// Writes the table.
    pub(crate) fn finish(self) {
        let Self { dir, table, small, cases, max_o, max_lse } = self;
        let text = format!(
            "// The bounds hold for these tiles and no others.\n\
             const _: () = assert!(flashlet::TILE_K == {TILE_K});\n\n\
             /// Every case, in the order of the list in `build.rs`.\n\
             pub static CASES: [Case; {cases}] = [\n{table}];\n\n\
             /// Output elements of the largest case.\npub(crate) const MAX_O: usize = {max_o};\n\
             /// Rows of the largest case.\npub(crate) const MAX_LSE: usize = {max_lse};\n"
        );
        write(&dir.join("small.rs"), small.as_bytes());
        write(&dir.join("cases.rs"), text.as_bytes());
    }
}

/// The constant expression of a mask, with the last query at the last key.
fn mask(sight: Sight, offset: usize) -> String {
    match sight {
        Sight::All => "Mask::full()".into(),
        Sight::Causal => format!("Mask::causal(Offset::at({offset}))"),
        Sight::Window { keys, sinks } => {
            format!("Mask::window(Offset::at({offset}), Window::keys({keys})).sinks({sinks})")
        }
    }
}
