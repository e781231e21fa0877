//! What is timed, by name.

use crate::call::Call;
use flashlet::entry::Entry;
use flashlet::{Attention, Error, Heads, Level, Shape, Window};
use measure::problem::Sight;
use oracle::Format;

/// One attention, and what to hold its time against.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) call: Call,
    pub(crate) element: Element,
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

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[heads, len, dim]`, as caches of keys and values are.
    ByHead,
    /// `[len, heads, dim]`, as a linear layer writes it.
    ByToken,
}

/// What numbers are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    F32,
    Bf16,
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
    let groups = [vec![long()], prompts(), windows(), steps(), few(), by_token()];
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
        let name = format!("window{keys}_f32_hd64_n8192");
        Case::new(name, Call { mask, sight, ..call }, Limit::Peak)
    };
    [512, 1024].map(case).into()
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
            element: Element::F32,
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
        match self.products {
            Products::F32 => Attention::new(shape, mask)?.level(level).map(Some),
            // The entry itself, not what a plan would choose: nothing else may stand in for it.
            Products::Bf16 => Entry::pairs(level, shape.heads)
                .map(|entry| Attention::with_entry(shape, mask, entry))
                .transpose(),
        }
    }

    /// Bytes of keys and values.
    pub(crate) fn kv_bytes(&self) -> usize {
        let elements: usize = [self.call.shape.k(), self.call.shape.v()]
            .map(|dims| dims.iter().product::<usize>())
            .iter()
            .sum();
        elements * self.element.bytes()
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
