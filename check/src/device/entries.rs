//! The entries, as the generator would write them: they name a combination.

use flashlet::entry::{
    Chunk, Class, Entry, Fixed, Job, Lanes, LinearEntry, TILE_K, Tiling, attend_plain, class,
    decode_plain, linear_step,
};
use flashlet::simd::Scalar;
use flashlet::{Family, Form, Gate, Level, Rule};

macro_rules! entries {
    ($($constant:ident: $name:ident, $dim:literal, $vectors:literal x $keys:literal;)*) => {$(
        pub(super) const $constant: Entry = Entry::new(
            stringify!($name),
            Level::Scalar,
            [$dim, $dim],
            TILE_K,
            Tiling { lanes: Lanes::Queries, vectors: $vectors, scalars: $keys, rows: $vectors },
            $name,
        )
        .plain();

        fn $name(job: Job<'_>) {
            attend_plain::<Scalar, Fixed<$dim>, Fixed<$dim>, $vectors, $keys, TILE_K>(Scalar, job);
        }
    )*};
}

// Four rows at once: as much scratch as the smallest device has room for.
entries! {
    ATTEND_32: attend_f32_hd32_q4_k96_scalar, 32, 4 x 4;
    ATTEND_64: attend_f32_hd64_q4_k96_scalar, 64, 4 x 4;
}

/// Four heads on a key where it lies: one code after the other.
pub(super) const DECODE: Entry = Entry::new(
    "decode_f32_q4_k96_scalar",
    Level::Scalar,
    [32, 32],
    TILE_K,
    Tiling { lanes: Lanes::Keys, vectors: 1, scalars: 4, rows: 4 },
    decode_f32_q4_k96_scalar,
)
.plain();

fn decode_f32_q4_k96_scalar(job: Job<'_>) {
    decode_plain::<Scalar, TILE_K>(Scalar, job);
}

/// The gated delta rule.
pub(super) const FAMILY: Family = Family { gate: Gate::Token, rule: Rule::Delta };

/// One token of it.
pub(super) const STEP: LinearEntry = LinearEntry::new(
    "linear_token_delta_step_scalar",
    Level::Scalar,
    Form::Recurrent,
    FAMILY,
    [32, 32],
    linear_token_delta_step_scalar,
);

fn linear_token_delta_step_scalar(token: Chunk<'_>) {
    const CLASS: [u8; 2] = class(FAMILY);
    linear_step::<Scalar, Class<{ CLASS[0] }, { CLASS[1] }>, 4>(Scalar, token);
}
