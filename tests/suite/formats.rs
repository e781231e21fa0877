//! Formats of caches: each number against a reference, bit for bit.

use flashlet::{BLOCK, E4m3, E5m2, Overflow, Q4_0, Q8_0};
use float8::{F8E4M3, F8E5M2};
use half::f16;
use proptest::prelude::*;
use serde::Deserialize;

#[test]
fn every_number_of_8_bits_is_the_reference_s_and_comes_back() {
    for bits in 0..=u8::MAX {
        let (ours, theirs) = (E4m3::from_bits(bits), F8E4M3::from_bits(bits));
        assert_eq!(ours.to_f32().is_nan(), theirs.to_f32().is_nan(), "{bits:02x}");
        if !ours.to_f32().is_nan() {
            assert_eq!(ours.to_f32().to_bits(), theirs.to_f32().to_bits(), "{bits:02x}");
            assert_eq!(E4m3::nearest(ours.to_f32(), Overflow::Special), ours);
        }
        let (ours, theirs) = (E5m2::from_bits(bits), F8E5M2::from_bits(bits));
        assert_eq!(ours.to_f32().is_nan(), theirs.to_f32().is_nan(), "{bits:02x}");
        if !ours.to_f32().is_nan() {
            assert_eq!(ours.to_f32().to_bits(), theirs.to_f32().to_bits(), "{bits:02x}");
            assert_eq!(E5m2::nearest(ours.to_f32(), Overflow::Special), ours);
        }
    }
    let [e4m3, e5m2] = [F8E4M3::from_bits(0x7e).to_f32(), F8E5M2::from_bits(0x7b).to_f32()];
    assert_eq!([E4m3::MAX, E5m2::MAX], [e4m3, e5m2]);
}

/// The middles between neighbours, and what is beside them.
fn borders(numbers: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut numbers: Vec<f32> = numbers.filter(|x| x.is_finite()).collect();
    numbers.sort_by(f32::total_cmp);
    let middles = numbers.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let beyond = numbers.iter().flat_map(|x| [*x, x * 1.0625, x * 1.125, x * 1.25]);
    let near =
        |x: f32| [x.next_down().next_down(), x.next_down(), x, x.next_up(), x.next_up().next_up()];
    middles.chain(beyond).flat_map(near).collect()
}

/// Panics unless a number becomes what the reference makes of it, and beyond the largest what was asked for.
fn assert_narrowed(x: f32) {
    let e4m3 = E4m3::nearest(x, Overflow::Saturate).to_bits();
    let e5m2 = E5m2::nearest(x, Overflow::Saturate).to_bits();
    let [special_e4m3, special_e5m2] = [
        E4m3::nearest(x, Overflow::Special).to_bits(),
        E5m2::nearest(x, Overflow::Special).to_bits(),
    ];
    if x.is_nan() {
        assert!(E4m3::from_bits(e4m3).to_f32().is_nan() && E5m2::from_bits(e5m2).to_f32().is_nan());
        return assert_eq!([special_e4m3, special_e5m2], [e4m3, e5m2]);
    }
    assert_eq!(e4m3, F8E4M3::from_f32(x).to_bits(), "{x}");
    assert_eq!(e5m2, F8E5M2::from_f32(x).to_bits(), "{x}");
    // Halfway to what would be the next number: 464 goes to even, and that is 448.
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    assert_eq!(special_e4m3, if x.abs() > 464.0 { sign | 0x7f } else { e4m3 }, "{x}");
    assert_eq!(special_e5m2, if x.abs() >= 61_440.0 { sign | 0x7c } else { e5m2 }, "{x}");
}

#[test]
fn numbers_go_to_the_nearest_of_8_bits() {
    let e4m3 = borders((0..=u8::MAX).map(|bits| E4m3::from_bits(bits).to_f32()));
    let e5m2 = borders((0..=u8::MAX).map(|bits| E5m2::from_bits(bits).to_f32()));
    let all = (0..=u32::MAX).step_by(9973).map(f32::from_bits);
    let special =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 1e-45];
    e4m3.into_iter().chain(e5m2).chain(all).chain(special).for_each(assert_narrowed);
}

#[derive(Deserialize)]
struct Golden {
    blocks: Vec<Block>,
}

/// A block as `tests/golden/blocks.py` writes it.
#[derive(Deserialize)]
struct Block {
    x: Vec<String>,
    q8_0: String,
    q4_0: String,
    from_q8_0: Vec<String>,
    from_q4_0: Vec<String>,
}

fn bits(hex: &[String]) -> Vec<u32> {
    hex.iter().map(|hex| u32::from_str_radix(hex, 16).unwrap()).collect()
}

fn hex(bytes: impl Iterator<Item = u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn same(found: &[f32], golden: &[u32]) -> bool {
    let same = |(x, bits): (&f32, &u32)| {
        x.to_bits() == *bits || x.is_nan() && f32::from_bits(*bits).is_nan()
    };
    found.len() == golden.len() && found.iter().zip(golden).all(same)
}

#[test]
fn blocks_have_the_bytes_of_ggml() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/blocks.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(golden.blocks.len() >= 30);
    for (i, block) in golden.blocks.iter().enumerate() {
        let x: Vec<f32> = bits(&block.x).into_iter().map(f32::from_bits).collect();
        let Q8_0 { scale, codes } = Q8_0::encode(&x);
        let bytes = scale.to_le_bytes().into_iter().chain(codes.map(|code| code as u8));
        assert_eq!(hex(bytes), block.q8_0, "block {i}");
        let Q4_0 { scale, codes } = Q4_0::encode(&x);
        assert_eq!(hex(scale.to_le_bytes().into_iter().chain(codes)), block.q4_0, "block {i}");
        assert!(same(&Q8_0::encode(&x).decode(), &bits(&block.from_q8_0)), "block {i}");
        assert!(same(&Q4_0::encode(&x).decode(), &bits(&block.from_q4_0)), "block {i}");
    }
    assert_eq!([size_of::<Q8_0>(), size_of::<Q4_0>()], [34, 18]);
}

#[test]
fn every_code_of_a_block_is_exact() {
    for scale in (0..=u16::MAX).step_by(257).map(f16::from_bits).filter(|scale| scale.is_finite()) {
        for code in i8::MIN..=i8::MAX {
            let x = Q8_0 { scale, codes: [code; BLOCK] }.decode();
            assert_eq!(x.map(f64::from), [f64::from(scale) * f64::from(code); BLOCK]);
        }
        for code in 0..=u8::MAX {
            let x = Q4_0 { scale, codes: [code; BLOCK / 2] }.decode();
            let [low, high] =
                [code & 15, code >> 4].map(|code| f64::from(scale) * (f64::from(code) - 8.0));
            assert!(
                x[..16].iter().all(|x| f64::from(*x) == low)
                    && x[16..].iter().all(|x| f64::from(*x) == high)
            );
        }
    }
}

#[test]
fn what_is_not_finite_is_not_lost_in_a_block() {
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 7, 31] {
            let mut block = [1.0; BLOCK];
            block[at] = x;
            assert!(Q8_0::encode(&block).decode().iter().all(|x| x.is_nan()));
            assert!(Q4_0::encode(&block).decode().iter().all(|x| x.is_nan()));
        }
    }
}

proptest! {
    #[test]
    fn blocks_err_by_no_more_than_they_say(x in proptest::collection::vec(-1000.0_f32..1000.0, BLOCK), scale in -20_i32..10) {
        let x: Vec<f32> = x.iter().map(|x| x * 2.0_f32.powi(scale)).collect();
        let most = x.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
        // Beside half a code: the rounding of the scale, which a subnormal f16 may lose 2^-25 of, and of 1 / d.
        for (decoded, code, lost) in [
            (Q8_0::encode(&x).decode(), most / 254.0, 127.0),
            // Codes reach from -8 to 7: what lies at 7.5 and beyond is cut.
            (Q4_0::encode(&x).decode(), most / 8.0, 8.0),
        ] {
            let scales = most * 2.0_f64.powi(-11) + lost * 2.0_f64.powi(-25);
            for (x, decoded) in x.iter().zip(decoded) {
                let error = (f64::from(*x) - f64::from(decoded)).abs();
                prop_assert!(error <= code * (1.0 + 1e-5) + scales, "{x} {decoded}");
            }
        }
    }
}
