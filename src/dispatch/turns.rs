//! The functions of `position/turn.rs` and `position/phase.rs` for each level.

use super::per_level::{Available, PerLevel};
use crate::elem::Elem;
use crate::entry::Dynamic;
use crate::position::{
    Halves, Interleaved, Other, Own, Pairing, Phase, Place, Token, Turning, run,
};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};

/// Whether portable functions have vectors. Without them they do what scalar ones do, to the bit, in more code.
const VECTORS: bool = Portable::HAS_VECTORS;

/// The generated functions of an element, for each level.
type Lines<T> = [&'static [Rotate<T>]; Level::ALL.len()];

#[cfg(feature = "specialised")]
pub(crate) use crate::generated::{ROPES_BF16, ROPES_F16, ROPES_F32};

#[cfg(not(feature = "specialised"))]
mod none {
    use super::Lines;
    use half::{bf16, f16};

    pub(crate) const ROPES_F32: Lines<f32> = [&[]; _];
    pub(crate) const ROPES_F16: Lines<f16> = [&[]; _];
    pub(crate) const ROPES_BF16: Lines<bf16> = [&[]; _];
}
#[cfg(not(feature = "specialised"))]
pub(crate) use none::{ROPES_BF16, ROPES_F16, ROPES_F32};

/// The generated function for so many channels, if there is one.
pub(crate) fn rope_line(rot_dim: usize, pairing: Pairing) -> Option<usize> {
    #[cfg(feature = "specialised")]
    return crate::generated::ROPE_LINES.iter().position(|line| *line == (rot_dim, pairing));
    #[cfg(not(feature = "specialised"))]
    {
        let _ = (rot_dim, pairing);
        None
    }
}

/// Turns the heads of a token in place.
pub(crate) type Rotate<T> = for<'a> unsafe fn(Turning<'a, T>);

/// What a level has to turn heads of an element: a function for each line of the manifest, and one for each pairing
/// that takes any width.
#[derive(Debug)]
pub struct RopeTable<T: 'static>(PerLevel<Ropes<T>>);

#[derive(Clone, Copy, Debug)]
struct Ropes<T: 'static> {
    lines: &'static [Rotate<T>],
    any: [Rotate<T>; 2],
}

impl<T: Elem> RopeTable<T> {
    /// From the generated functions of each level.
    pub(crate) const fn new(lines: Lines<T>) -> Self {
        let [scalar, portable, avx2, avx512] = lines;
        RopeTable(PerLevel::new([
            // One lane has functions of its own only where there is nothing wider.
            Ropes { lines: if VECTORS { &[] } else { scalar }, any: scalar_in_place() },
            Ropes {
                lines: portable,
                any: if VECTORS { portable_in_place() } else { scalar_in_place() },
            },
            Ropes { lines: avx2, any: avx2_in_place() },
            Ropes { lines: avx512, any: avx512_in_place() },
        ]))
    }

    pub(crate) fn turn(&'static self, token: &Token<'_>, turning: Turning<'_, T>) {
        let ropes = self.0.of(token.level);
        let line = token.line.and_then(|line| ropes.lines.get(line));
        let rotate = line.unwrap_or(&ropes.any[usize::from(token.pairing == Pairing::Halves)]);
        // SAFETY: this processor has the level (`Available`), whose features are all that its functions
        // need.
        unsafe { rotate(turning) }
    }
}

/// As [`RopeTable`], from one tensor onto another.
#[derive(Debug)]
pub(crate) struct OntoTable<T: 'static, U: 'static>(PerLevel<[RotateOnto<T, U>; 2]>);

type RotateOnto<T, U> = for<'a, 'b> unsafe fn(Turning<'a, U, Other<'b, T>>);

impl<T: Elem, U: Elem> OntoTable<T, U> {
    const NEW: &'static Self = &OntoTable(PerLevel::new([
        scalar_onto(),
        if VECTORS { portable_onto() } else { scalar_onto() },
        avx2_onto(),
        avx512_onto(),
    ]));

    pub(crate) fn turn(token: &Token<'_>, turning: Turning<'_, U, Other<'_, T>>) {
        let rotate = Self::NEW.0.of(token.level)[usize::from(token.pairing == Pairing::Halves)];
        // SAFETY: as for `RopeTable::turn`.
        unsafe { rotate(turning) }
    }
}

/// Cosines and sines of phases.
#[derive(Debug)]
pub(crate) struct AngleTable(PerLevel<Fill>);

type Fill = unsafe fn(Phase<'_>, &Place, &[u8], f32, [&mut [f32]; 2]);

impl AngleTable {
    pub(crate) const NEW: &'static Self = &AngleTable(PerLevel::new([
        angles_of_the_build,
        angles_of_the_build,
        avx2_angles,
        avx512_angles,
    ]));

    pub(crate) fn fill(
        &self,
        level: Available,
        phase: Phase<'_>,
        place: &Place,
        axes: &[u8],
        amplitude: f32,
        rows: [&mut [f32]; 2],
    ) {
        // SAFETY: as for `RopeTable::turn`.
        unsafe { self.0.of(level)(phase, place, axes, amplitude, rows) }
    }
}

/// `$token` makes a backend where `$features` are enabled; the functions are `$in_place` and `$onto`.
macro_rules! turns {
    ($in_place:ident, $onto:ident, $token:expr $(, $features:literal)?) => {
        const fn $in_place<T: Elem>() -> [Rotate<T>; 2] {
            $(#[target_feature(enable = $features)])?
            fn interleaved<T: Elem>(turning: Turning<'_, T>) {
                run::<_, Interleaved, Dynamic, T, Own>($token, turning);
            }
            $(#[target_feature(enable = $features)])?
            fn halves<T: Elem>(turning: Turning<'_, T>) {
                run::<_, Halves, Dynamic, T, Own>($token, turning);
            }
            [interleaved::<T>, halves::<T>]
        }
        const fn $onto<T: Elem, U: Elem>() -> [RotateOnto<T, U>; 2] {
            $(#[target_feature(enable = $features)])?
            fn interleaved<T: Elem, U: Elem>(turning: Turning<'_, U, Other<'_, T>>) {
                run::<_, Interleaved, Dynamic, U, Other<'_, T>>($token, turning);
            }
            $(#[target_feature(enable = $features)])?
            fn halves<T: Elem, U: Elem>(turning: Turning<'_, U, Other<'_, T>>) {
                run::<_, Halves, Dynamic, U, Other<'_, T>>($token, turning);
            }
            [interleaved::<T, U>, halves::<T, U>]
        }
    };
}

/// `$name` fills rows of angles where `$features` are enabled: plain arithmetic, whose vectors the compiler finds.
macro_rules! angles {
    ($name:ident $(, $features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        fn $name(
            phase: Phase<'_>,
            place: &Place,
            axes: &[u8],
            amplitude: f32,
            rows: [&mut [f32]; 2],
        ) {
            phase.fill(place, axes, amplitude, rows);
        }
    };
}

turns!(scalar_in_place, scalar_onto, Scalar);
turns!(portable_in_place, portable_onto, Portable);
#[cfg(target_arch = "x86_64")]
turns!(avx2_in_place, avx2_onto, Avx2::here(), "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
turns!(avx512_in_place, avx512_onto, Avx512::here(), "avx512f,avx512bw,avx512dq,avx512vl");

angles!(angles_of_the_build);
#[cfg(target_arch = "x86_64")]
angles!(avx2_angles, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
angles!(avx512_angles, "avx512f,avx512bw,avx512dq,avx512vl");
// Never available there, so never asked for.
#[cfg(not(target_arch = "x86_64"))]
use {
    angles_of_the_build as avx2_angles, angles_of_the_build as avx512_angles,
    scalar_in_place as avx2_in_place, scalar_in_place as avx512_in_place, scalar_onto as avx2_onto,
    scalar_onto as avx512_onto,
};
