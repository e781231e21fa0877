//! What is timed, by name.

use crate::call::Call;
use crate::modified::{self, Formula};
use crate::sparse::{self, Sparse};
use flashlet::entry::Entry;
use flashlet::{Attention, Error, Heads, Level, Mask, Offset, Precision, Shape, Window};
use measure::problem::Sight;
use oracle::Format;

/// One attention, and what to hold its time against.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) call: Call,
    /// Pairs that are left out beside those of the call.
    pub(crate) sparse: Option<Sparse>,
    /// What becomes of its scores.
    pub(crate) modified: Option<Formula>,
    pub(crate) element: Element,
    /// Keys and values are in a cache that keeps them so.
    pub(crate) kept: Option<Kept>,
    pub(crate) layout: Layout,
    pub(crate) products: Products,
    pub(crate) limit: Limit,
    /// Timed on every level in any case: how the levels compare.
    pub(crate) on_every_level: bool,
    /// How much memory the process has taken by then is reported too.
    pub(crate) reports_memory: bool,
}

/// How inputs and outputs are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
}

/// How a cache keeps keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    E4m3,
    /// Codes with a scale for each head of a token.
    Int8,
    Q8_0,
    Q4_0,
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[heads, len, dim]`, as caches of keys and values are.
    ByHead,
    /// `[len, heads, dim]`, as a linear layer writes it.
    ByToken,
    /// As by token; the values are the first channels of the keys.
    Latent,
}

/// What numbers are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    F32,
    Bf16,
    Int8,
}

/// What a case cannot be faster than.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Its multiply-adds.
    Peak,
    /// Reading its keys and values once.
    Bandwidth,
    /// Whichever of the two takes longer.
    Roofline,
}

/// All cases, those of one shape side by side.
pub(crate) fn all() -> Vec<Case> {
    // The long prompt comes first: what others allocate must not count as its memory.
    let groups = [
        vec![long()],
        prompts(),
        windows(),
        patterns(),
        scores(),
        steps(),
        caches(),
        few(),
        by_token(),
        latent(),
    ];
    groups.into_iter().flatten().collect()
}

/// The long prompt: its memory must not grow with the square of its length.
fn long() -> Case {
    let call = Call::causal(prompt(Heads::new(8, 8, 64), 16384));
    let case = Case::new("prefill_f32_hd64_n16384_causal".into(), call, Limit::Peak);
    Case { reports_memory: true, ..case }
}

fn prompts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (stored, element, products) in [
        ("f32", Element::F32, Products::F32),
        ("f16", Element::F16, Products::F32),
        ("bf16", Element::Bf16, Products::F32),
        ("bf16prod", Element::Bf16, Products::Bf16),
    ] {
        for dim in [32, 64, 96, 128, 256] {
            for len in [128, 256, 512, 1024, 4096] {
                let shape = prompt(Heads::new(8, 8, dim), len);
                for (mask, call) in [("full", Call::full(shape)), ("causal", Call::causal(shape))] {
                    let name = format!("prefill_{stored}_hd{dim}_n{len}_{mask}");
                    let on_every_level = name == "prefill_f32_hd128_n1024_full";
                    let case = Case::new(name, call, Limit::Peak);
                    cases.push(Case { element, products, on_every_level, ..case });
                }
            }
        }
    }
    let grouped = Call::causal(prompt(Heads::new(32, 8, 128), 1024));
    let name = "prefill_f32_gqa32x8_hd128_n1024_causal".into();
    cases.push(Case::new(name, grouped, Limit::Peak));
    cases
}

fn windows() -> Vec<Case> {
    let case = |keys| {
        let call = Call::causal(prompt(Heads::new(8, 8, 64), 8192));
        let mask = call.mask & Window::keys(keys);
        let sight = Sight { left: Some(keys - 1), ..call.sight };
        let name = format!("prefill_f32_hd64_n8192_window{keys}");
        Case::new(name, Call { mask, sight, ..call }, Limit::Peak)
    };
    [512, 1024].map(case).into()
}

/// Patterns, and the prompts without one that they are held against.
fn patterns() -> Vec<Case> {
    let shape = prompt(Heads::new(8, 8, 64), sparse::LEN);
    let dense = [("full", Call::full(shape)), ("causal", Call::causal(shape))]
        .map(|(name, call)| Case::new(format!("prefill_f32_hd64_n8192_{name}"), call, Limit::Peak));
    let case = |sparse: Sparse| {
        let name = format!("prefill_f32_hd64_n8192_{}", sparse.name);
        let call = Call { mask: Mask::at(Offset::TOP_LEFT), ..Call::full(shape) };
        Case { sparse: Some(sparse), ..Case::new(name, call, Limit::Peak) }
    };
    dense.into_iter().chain(sparse::all().into_iter().map(case)).collect()
}

/// Modifiers of scores, to be held against `prefill_f32_hd128_n1024_full`.
fn scores() -> Vec<Case> {
    let heads = Heads::new(modified::HEADS, modified::HEADS, 128);
    let shape = prompt(heads, modified::LEN);
    let case = |formula: Formula| {
        let name = format!("prefill_f32_hd128_n1024_{}", formula.name);
        let call = Call { mask: Mask::at(Offset::TOP_LEFT), ..Call::full(shape) };
        Case { modified: Some(formula), ..Case::new(name, call, Limit::Peak) }
    };
    modified::ALL.map(case).into()
}

fn steps() -> Vec<Case> {
    let mut cases = Vec::new();
    for (stored, element) in [("f32", Element::F32), ("f16", Element::F16), ("bf16", Element::Bf16)]
    {
        for kv_len in [1024, 8192, 32768] {
            let name = format!("decode_{stored}_hd128_32x8_kv{kv_len}");
            let case = Case::new(name, Call::full(tail(1, kv_len)), Limit::Bandwidth);
            cases.push(Case { element, ..case });
        }
    }
    cases
}

/// Keys and values in a cache of fewer bits, the tokens of a head or the heads of a token side by side.
fn caches() -> Vec<Case> {
    let formats =
        [("fp8", Kept::E4m3), ("int8", Kept::Int8), ("q8_0", Kept::Q8_0), ("q4_0", Kept::Q4_0)];
    let mut cases = Vec::new();
    for (stored, kept) in formats {
        let ways: &[_] = match kept {
            Kept::E4m3 => &[(Products::F32, "")],
            _ => &[(Products::Int8, ""), (Products::F32, "_f32")],
        };
        for &(products, way) in ways {
            for (layout, suffix) in [(Layout::ByHead, ""), (Layout::ByToken, "_bytoken")] {
                let name = format!("decode_{stored}{way}_hd128_32x8_kv32768{suffix}");
                let case = Case::new(name, Call::full(tail(1, 32768)), Limit::Bandwidth);
                cases.push(Case { kept: Some(kept), layout, products, ..case });
            }
        }
        for &(products, way) in ways {
            let name = format!("prefill_{stored}{way}_hd128_n1024_full");
            let call = Call::full(prompt(Heads::new(8, 8, 128), 1024));
            cases.push(Case { kept: Some(kept), products, ..Case::new(name, call, Limit::Peak) });
        }
    }
    cases
}

fn few() -> Vec<Case> {
    let case = |q_len| {
        let name = format!("few_f32_hd128_32x8_q{q_len}_kv8192");
        Case::new(name, Call::causal(tail(q_len, 8192)), Limit::Roofline)
    };
    [2, 4, 8, 16].map(case).into()
}

/// What another layout costs.
fn by_token() -> Vec<Case> {
    let prompt = |dim| prompt(Heads::new(8, 8, dim), 1024);
    let cases = [
        ("prefill_f32_hd64_n1024_causal", Call::causal(prompt(64)), Limit::Peak),
        ("prefill_f32_hd128_n1024_full", Call::full(prompt(128)), Limit::Peak),
        ("decode_f32_hd128_32x8_kv8192", Call::full(tail(1, 8192)), Limit::Bandwidth),
    ];
    let case = |(name, call, limit)| {
        let case = Case::new(format!("{name}_bytoken"), call, limit);
        Case { layout: Layout::ByToken, ..case }
    };
    cases.map(case).into()
}

/// A step of latent attention in its absorbed form (DeepSeek-V3): 128 query heads on one row of 576 channels, of which
/// 512 are the value. Bound by multiply-adds.
fn latent() -> Vec<Case> {
    let heads = Heads { q: 128, kv: 1, dim: 576, v_dim: 512 };
    let case = |(name, element)| {
        let call = Call::full(Shape { batch: 1, q_len: 1, kv_len: 8192, heads });
        let case = Case::new(format!("latent_{name}_hd576x512_128x1_kv8192"), call, Limit::Peak);
        Case { element, layout: Layout::Latent, ..case }
    };
    [("f32", Element::F32), ("f16", Element::F16), ("bf16", Element::Bf16)].map(case).into()
}

fn prompt(heads: Heads, len: usize) -> Shape {
    Shape { batch: 1, q_len: len, kv_len: len, heads }
}

fn tail(q_len: usize, kv_len: usize) -> Shape {
    Shape { batch: 1, q_len, kv_len, heads: Heads::new(32, 8, 128) }
}

impl Case {
    fn new(name: String, call: Call, limit: Limit) -> Self {
        Case {
            name,
            call,
            sparse: None,
            modified: None,
            element: Element::F32,
            kept: None,
            layout: Layout::ByHead,
            products: Products::F32,
            limit,
            on_every_level: false,
            reports_memory: false,
        }
    }

    /// The plan of it on a level; `None` where this processor cannot multiply so.
    pub(crate) fn plan(&self, level: Level) -> Result<Option<Attention<'static>>, Error> {
        let Call { shape, mask, .. } = self.call;
        match (&self.sparse, self.products) {
            (Some(sparse), _) => {
                Attention::new(shape, mask)?.only(sparse.pattern)?.level(level).map(Some)
            }
            (None, Products::Int8) => {
                let plan = Attention::new(shape, mask)?.level(level)?;
                Ok(Some(plan.precision(Precision::Int8Products)))
            }
            (None, Products::F32) => {
                let plan = Attention::new(shape, mask)?.level(level)?;
                match &self.modified {
                    Some(formula) => (formula.plan)(&plan).map(Some),
                    None => Ok(Some(plan)),
                }
            }
            // The entry itself, not what a plan would choose: nothing else may stand in for it.
            (None, Products::Bf16) => Entry::pairs(level, shape.heads)
                .map(|entry| Attention::with_entry(shape, mask, entry))
                .transpose(),
        }
    }

    /// Operations on the pairs that are visible.
    pub(crate) fn flops(&self) -> f64 {
        let Shape { q_len, kv_len, heads, .. } = self.call.shape;
        match &self.sparse {
            None => self.call.flops(),
            Some(Sparse { sees, .. }) => {
                let visible = |i| (0..kv_len).filter(|j| sees(i, *j)).count();
                let pairs: usize = (0..q_len).map(visible).sum();
                2.0 * (pairs * heads.q * (heads.dim + heads.v_dim)) as f64
            }
        }
    }

    /// Bytes of keys and values.
    pub(crate) fn kv_bytes(&self) -> usize {
        let elements: usize = [self.call.shape.k(), self.call.shape.v()]
            .map(|dims| dims.iter().product::<usize>())
            .iter()
            .sum();
        match self.kept {
            None => elements * self.element.bytes(),
            Some(Kept::E4m3) => elements,
            // A scale of f32 for each row; of f16 for 32 channels.
            Some(Kept::Int8) => elements + elements / self.call.shape.heads.dim * 4,
            Some(Kept::Q8_0) => elements / 32 * 34,
            Some(Kept::Q4_0) => elements / 32 * 18,
        }
    }
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
        }
    }

    /// What the oracle calls it.
    pub(crate) fn format(self) -> Format {
        match self {
            Element::F32 => Format::F32,
            Element::F16 => Format::F16,
            Element::Bf16 => Format::Bf16,
        }
    }
}
