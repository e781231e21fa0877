//! The policy for special values as one table: what is done to the data, and what must come out. That sums of weights overflow
//! has no row: no weight is above 1.

use crate::case::{Case, Reach, Rule};
use crate::special_cells::{Cell, Kernel, Stored};
use flashlet::{Heads, Shape};

pub(crate) const HEADS: Heads = Heads::new(4, 2, 64);
const KV_LEN: usize = 100;

/// The key that is poisoned, of this head, in this channel; all queries but the last two are before it.
pub(crate) const KEY: usize = KV_LEN - 2;
pub(crate) const HEAD: usize = 1;
pub(crate) const CHANNEL: usize = 37;

/// What one number must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Out {
    /// The bits that it has without the poison.
    Same,
    Nan,
    /// An infinity or NaN.
    NotFinite,
    /// +0.0.
    PlusZero,
    /// 0 of either sign.
    Zero,
    MinusInfinity,
    /// Within a hundredth of 1.
    One,
    /// The value of this key, exactly, but for the sign of 0.
    Value(usize),
    Anything,
}
use Out::{Anything, MinusInfinity, Nan, NotFinite, One, PlusZero, Same, Value, Zero};

/// Which number of the output it is.
pub(crate) struct Place {
    /// The first key that its query may see, had it a window of one.
    pub(crate) own: usize,
    /// The query that is poisoned.
    pub(crate) is_query: bool,
    /// The query may see the poisoned key.
    pub(crate) sees: bool,
    /// The poisoned head serves its head.
    pub(crate) is_served: bool,
    /// The channel is poisoned, or shares a scale with one that is.
    pub(crate) is_column: bool,
    /// The log-sum-exp instead of a channel.
    pub(crate) is_lse: bool,
}

/// Where a row means nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Void {
    Kernel(Kernel),
    Format(Stored),
}

impl Void {
    pub(crate) fn is(self, cell: &Cell) -> bool {
        match self {
            Void::Kernel(kernel) => kernel == cell.kernel,
            Void::Format(format) => format == cell.format,
        }
    }
}

pub(crate) type Voids = &'static [(Void, &'static str)];

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) rule: fn(Shape) -> Rule,
    pub(crate) kv_len: usize,
    /// A bias of -inf for the poisoned key.
    pub(crate) is_biased: bool,
    /// What the data are before; the format is that of keys and values.
    pub(crate) given: fn(&mut Case, Stored),
    pub(crate) poison: fn(&mut Case),
    pub(crate) out: fn(&Place) -> Out,
    pub(crate) voids: Voids,
}

fn causal(shape: Shape) -> Rule {
    Rule::causal(shape.kv_len as i64 - shape.q_len as i64)
}

const PLAIN: Row = Row {
    name: "",
    rule: causal,
    kv_len: KV_LEN,
    is_biased: false,
    given: |_, _| {},
    poison: |_| {},
    out: |_| Same,
    voids: &[],
};

fn key(case: &mut Case) -> &mut [f32] {
    &mut case.k[(KEY * HEADS.kv + HEAD) * HEADS.dim..][..HEADS.dim]
}

fn value(case: &mut Case) -> &mut [f32] {
    &mut case.v[(KEY * HEADS.kv + HEAD) * HEADS.v_dim..][..HEADS.v_dim]
}

fn query(case: &mut Case) -> &mut [f32] {
    let (row, h) = (case.shape.q_len - 2, HEAD * HEADS.group());
    &mut case.q[(row * HEADS.q + h) * HEADS.dim..][..HEADS.dim]
}

/// All queries are (q, 0, 0, ...) and the poisoned key (k, 0, 0, ...): its score is that of q k.
fn score(case: &mut Case, q: f32, k: f32) {
    for row in case.q.chunks_exact_mut(HEADS.dim) {
        row.fill(0.0);
        row[0] = q;
    }
    key(case).fill(0.0);
    key(case)[0] = k;
}

fn hide(case: &mut Case, x: f32) {
    key(case).fill(x);
    value(case).fill(x);
}

fn unseen(at: &Place) -> Out {
    if at.sees { Anything } else { Same }
}

fn empty(at: &Place) -> Out {
    if at.is_lse { MinusInfinity } else { PlusZero }
}

fn of_key(at: &Place) -> Out {
    if at.sees { Nan } else { Same }
}

fn of_value(at: &Place, out: Out) -> Out {
    if at.sees && at.is_column && !at.is_lse { out } else { Same }
}

/// All scores are this: keys (k, 0, 0, ...).
fn all_scores(case: &mut Case, q: f32, k: f32) {
    score(case, q, k);
    for row in case.k.chunks_exact_mut(HEADS.dim) {
        row.fill(0.0);
        row[0] = k;
    }
    case.v.fill(1.0);
}

fn mean(at: &Place) -> Out {
    if at.is_lse { Anything } else { One }
}

fn subnormal(case: &mut Case, format: Stored) {
    let most = match format {
        Stored::F16 => 6e-5,
        Stored::E4m3 => 0.0136,
        Stored::E5m2 => 4e-5,
        _ => 1e-38,
    };
    for (n, x) in case.v.iter_mut().enumerate() {
        *x = most * (1 + n % 7) as f32 / 7.0;
    }
}

const NO_SOFTMAX: (Void, &str) = (Void::Kernel(Kernel::Linear), "there is no softmax");
const ROUNDED: (Void, &str) = (Void::Kernel(Kernel::Integers), "weights have 8 bits");
const NO_INFINITY: Voids = &[
    (Void::Format(Stored::E4m3), "has no infinity"),
    (Void::Format(Stored::I8), "has no infinity"),
    (Void::Format(Stored::Q8_0), "has no infinity"),
    (Void::Format(Stored::Q4_0), "has no infinity"),
];
const NO_INFINITE_SCORE: Voids =
    &[NO_SOFTMAX, NO_INFINITY[0], NO_INFINITY[1], NO_INFINITY[2], NO_INFINITY[3]];

pub(crate) const TABLE: &[Row] = &[
    Row {
        name: "no keys",
        kv_len: 0,
        out: empty,
        voids: &[(Void::Kernel(Kernel::Linear), "has a state instead of keys")],
        ..PLAIN
    },
    Row {
        name: "every key masked",
        rule: |shape| Rule::causal(-(shape.q_len as i64)),
        poison: |case| [&mut case.k, &mut case.v].into_iter().for_each(|x| x.fill(f32::NAN)),
        out: empty,
        voids: &[(Void::Kernel(Kernel::Linear), "has no mask")],
        ..PLAIN
    },
    Row {
        name: "empty window, values of -0.0",
        rule: |shape| causal(shape).windowed(Reach::Keys(0)),
        poison: |case| case.v.fill(-0.0),
        out: empty,
        voids: &[(Void::Kernel(Kernel::Linear), "has no mask")],
        ..PLAIN
    },
    Row { name: "masked slot: NaN", poison: |case| hide(case, f32::NAN), out: unseen, ..PLAIN },
    Row {
        name: "masked slot: +Inf",
        poison: |case| hide(case, f32::INFINITY),
        out: unseen,
        ..PLAIN
    },
    Row {
        name: "masked slot: -Inf",
        poison: |case| hide(case, f32::NEG_INFINITY),
        out: unseen,
        ..PLAIN
    },
    Row { name: "masked slot: 1e38", poison: |case| hide(case, 1e38), out: unseen, ..PLAIN },
    Row {
        name: "bias of -Inf, NaN behind it",
        is_biased: true,
        poison: |case| hide(case, f32::NAN),
        voids: &[(Void::Kernel(Kernel::Linear), "has no bias")],
        ..PLAIN
    },
    Row {
        name: "scores below the usual constants of masks",
        given: |case, _| all_scores(case, 6e4, -400.0),
        out: mean,
        voids: &[NO_SOFTMAX],
        ..PLAIN
    },
    Row {
        name: "scores that are subnormal",
        given: |case, _| all_scores(case, 1e-20, 1e-20),
        out: mean,
        voids: &[NO_SOFTMAX],
        ..PLAIN
    },
    Row {
        name: "NaN in q",
        poison: |case| query(case)[3] = f32::NAN,
        out: |at| if at.is_query { Nan } else { Same },
        ..PLAIN
    },
    Row { name: "NaN in k", poison: |case| key(case)[CHANNEL] = f32::NAN, out: of_key, ..PLAIN },
    Row {
        name: "NaN in v",
        poison: |case| value(case)[CHANNEL] = f32::NAN,
        out: |at| of_value(at, Nan),
        ..PLAIN
    },
    Row {
        name: "signalling NaN in v",
        poison: |case| value(case)[CHANNEL] = f32::from_bits(0x7f80_0001),
        out: |at| of_value(at, Nan),
        ..PLAIN
    },
    Row {
        name: "NaN in v of weight 0",
        given: |case, _| score(case, 30.0, -400.0),
        poison: |case| value(case)[CHANNEL] = f32::NAN,
        out: |at| of_value(at, Nan),
        voids: &[NO_SOFTMAX],
        ..PLAIN
    },
    Row {
        name: "+Inf in v",
        poison: |case| value(case)[CHANNEL] = f32::INFINITY,
        out: |at| of_value(at, NotFinite),
        voids: NO_INFINITY,
        ..PLAIN
    },
    Row {
        name: "-Inf in v",
        poison: |case| value(case)[CHANNEL] = f32::NEG_INFINITY,
        out: |at| of_value(at, NotFinite),
        voids: NO_INFINITY,
        ..PLAIN
    },
    Row {
        name: "a score of +Inf",
        given: |case, _| score(case, 1.0, 1.0),
        poison: |case| key(case)[0] = f32::INFINITY,
        out: of_key,
        voids: NO_INFINITE_SCORE,
        ..PLAIN
    },
    Row {
        name: "a score of -Inf",
        given: |case, _| score(case, 30.0, -3e4),
        poison: |case| key(case)[0] = f32::NEG_INFINITY,
        voids: NO_INFINITE_SCORE,
        ..PLAIN
    },
    Row {
        name: "a score that overflows",
        given: |case, _| all_scores(case, 1e25, 0.0),
        poison: |case| key(case)[0] = 1e25,
        out: of_key,
        voids: &[
            NO_SOFTMAX,
            (Void::Format(Stored::F16), "65504^2 channels are below the largest f32"),
            (Void::Format(Stored::E4m3), "no number is so large"),
            (Void::Format(Stored::E5m2), "no number is so large"),
            (Void::Format(Stored::Q8_0), "no number is so large"),
            (Void::Format(Stored::Q4_0), "no number is so large"),
        ],
        ..PLAIN
    },
    Row {
        name: "the largest queries and keys of 16 and 8 bits",
        given: |case, _| case.q.fill(57344.0),
        poison: |case| key(case).fill(57344.0),
        out: |at| match at.is_lse {
            true => Anything,
            false if at.sees => Value(KEY),
            false => Same,
        },
        voids: &[NO_SOFTMAX, ROUNDED, (Void::Format(Stored::E4m3), "ends at 448")],
        ..PLAIN
    },
    Row {
        name: "a product of weights and values that overflows",
        poison: |case| {
            let row = HEADS.kv * HEADS.v_dim;
            let column = case.v.iter_mut().skip(HEAD * HEADS.v_dim + CHANNEL).step_by(row);
            column.for_each(|x| *x = 3e38);
        },
        out: |at| if at.is_served && at.is_column && !at.is_lse { Anything } else { Same },
        voids: &[
            (Void::Format(Stored::F16), "no number is so large"),
            (Void::Format(Stored::E4m3), "no number is so large"),
            (Void::Format(Stored::E5m2), "no number is so large"),
            (Void::Format(Stored::Q8_0), "no number is so large"),
            (Void::Format(Stored::Q4_0), "no number is so large"),
        ],
        ..PLAIN
    },
    Row {
        name: "subnormal v",
        rule: |shape| causal(shape).windowed(Reach::Keys(1)),
        given: subnormal,
        out: |at| if at.is_lse { Same } else { Value(at.own) },
        voids: &[
            NO_SOFTMAX,
            ROUNDED,
            (Void::Kernel(Kernel::Pairs), "the processor's products of pairs flush them"),
        ],
        ..PLAIN
    },
    Row {
        name: "values of -0.0",
        given: |case, _| case.v.fill(-0.0),
        out: |at| if at.is_lse { Same } else { Zero },
        ..PLAIN
    },
];
