//! Frequencies of rotary positions against golden numbers.

use crate::golden::Golden;
use flashlet::math::SIN_COS_ERROR;
use flashlet::{
    Llama3, LongRope, Pairing, Phase, Positions, Rope, Scaling, Theta, Turns, ViewMut, Yarn,
};

/// Radians a token, from the fraction of a turn.
fn radians(turns: u64) -> f64 {
    turns as f64 / 2.0_f64.powi(64) * std::f64::consts::TAU
}

/// Whether a number is what is printed, to its last digit.
fn prints(x: f64, printed: &str) {
    let (mantissa, _) = printed.split_once('e').unwrap_or((printed, ""));
    let digits = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len());
    let shown =
        if printed.contains('e') { format!("{x:.digits$e}") } else { format!("{x:.digits$}") };
    assert_eq!(shown, printed);
}

#[test]
fn scalings_have_the_golden_numbers() {
    let llama = Scaling::Llama3(Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_len: 8192,
    });
    let plain: Turns<64> = Theta::new(5e5).turns().unwrap();
    let scaled: Turns<64> = Theta::new(5e5).scaled(llama).turns().unwrap();
    assert!((0..29).all(|t| plain.turns[t] == scaled.turns[t]));
    for (t, printed) in [
        (29, "2.166570764e-3"),
        (32, "5.248461610e-4"),
        (34, "1.785078128e-4"),
        (63, "3.068925989e-7"),
    ] {
        prints(radians(scaled.turns[t]), printed);
    }
    assert!((35..64).all(|t| plain.turns[t].abs_diff(8 * scaled.turns[t]) <= 4));

    let gpt_oss = Yarn { truncate: false, ..Yarn::new(32.0, 4096) };
    let theta = |yarn| Theta::new(150_000.0).scaled(Scaling::Yarn(yarn));
    let turns: Turns<32> = theta(gpt_oss).turns().unwrap();
    for (t, printed) in [
        (8, "5.081327482e-2"),
        (12, "6.794959490e-3"),
        (16, "4.564839192e-4"),
        (31, "3.023511428e-7"),
    ] {
        prints(radians(turns.turns[t]), printed);
    }
    prints(f64::from(turns.amplitude), "1.3465736");
    let turns: Turns<32> = theta(Yarn::new(32.0, 4096)).turns().unwrap();
    prints(radians(turns.turns[12]), "7.015713911e-3");
    let long = LongRope {
        short_factor: &[1.0; 48],
        long_factor: &[2.0; 48],
        factor: 32.0,
        original_len: 4096,
        len: 4096,
        attention_factor: None,
    };
    let turns: Turns<48> = Theta::new(1e4).scaled(Scaling::LongRope(long)).turns().unwrap();
    prints(f64::from(turns.amplitude), "1.1902381");
}

#[test]
fn turns_are_those_of_sixty_digits() {
    let golden = Golden::read();
    assert!(golden.turns.len() > 20);
    for one in &golden.turns {
        let mut turns = vec![0; one.rot_dim / 2];
        let amplitude = one.theta().fill(&mut turns).unwrap();
        for (t, (got, exact)) in turns.iter().zip(&one.turns).enumerate() {
            assert_eq!(format!("{got:016x}"), *exact, "{} pair {t}", one.name);
        }
        assert_eq!(amplitude, one.amplitude.parse::<f64>().unwrap() as f32, "{}", one.name);
        if let (Some(exact), Scaling::Yarn(yarn)) = (&one.softmax_factor, one.scaling.scaling()) {
            let exact: f64 = exact.parse().unwrap();
            assert!((yarn.softmax_factor() - exact).abs() <= 2e-16 * exact, "{}", one.name);
        }
    }
}

#[test]
fn inverse_frequencies_have_the_bits_of_transformers() {
    let golden = Golden::read();
    for one in &golden.hugging_face {
        // Its forward pass makes a tensor of the length, and so f32 of the base.
        if one.seq_len.is_some() && !one.seq_len_is_tensor && one.name.contains("dynamic") {
            continue;
        }
        let theta = golden.frequencies(&one.name).theta();
        let mut inv_freq = vec![0.0; one.inv_freq.len()];
        let amplitude = theta.fill_inv_freq(&mut inv_freq).unwrap();
        for (t, (got, bits)) in inv_freq.iter().zip(&one.inv_freq).enumerate() {
            assert_eq!(format!("{:08x}", got.to_bits()), *bits, "{} pair {t}: {got}", one.name);
        }
        assert_eq!(amplitude, one.attention_factor.parse::<f64>().unwrap() as f32, "{}", one.name);
    }
}

#[test]
fn compatible_tables_are_pytorchs_but_for_a_last_bit_now_and_then() {
    let golden = Golden::read();
    let (mut count, mut others) = (0, 0);
    for one in &golden.hugging_face {
        let mut inv_freq = vec![0.0; one.inv_freq.len()];
        golden.frequencies(&one.name).theta().fill_inv_freq(&mut inv_freq).unwrap();
        let rope = Rope::new(Phase::F32Compatible(&inv_freq), 1.0, Pairing::Halves).unwrap();
        for table in &one.tables {
            let mut row = vec![0.0; rope.rot_dim()];
            rope.fill_table(table.position, &mut row).unwrap();
            for (got, bits) in row.iter().zip(table.cos.iter().chain(&table.sin)) {
                let torch = f32::from_bits(u32::from_str_radix(bits, 16).unwrap());
                // Never more than a neighbour.
                let is_near = (got - torch).abs() <= f32::EPSILON * torch.abs();
                assert!(is_near, "{} at {}: {got:e} {torch:e}", one.name, table.position);
                (count, others) = (count + 1, others + usize::from(*got != torch));
            }
            let angles = inv_freq.iter().map(|inv_freq| table.position as f32 * inv_freq);
            for (angle, got) in angles.zip(&row) {
                assert_eq!(*got, f64::from(angle).cos() as f32, "cos {angle}");
            }
        }
    }
    println!("{others} of {count} differ from PyTorch's");
    assert!(count > 1000 && others * 20 <= count, "{others} of {count}");
}

#[test]
fn tables_hold_the_golden_angles() {
    let golden = Golden::read();
    assert!(golden.table.len() > 40);
    for one in &golden.table {
        let (cos, sin): (f64, f64) = (one.cos.parse().unwrap(), one.sin.parse().unwrap());
        let mut turns = vec![0; one.rot_dim / 2];
        Theta::new(one.theta_base).fill(&mut turns).unwrap();
        let mut x = vec![0.0; one.rot_dim];
        (x[one.t], x[one.t + one.rot_dim / 2]) = (1.0, 0.0);
        let rope = Rope::new(Phase::Exact(&turns), 1.0, Pairing::Halves).unwrap();
        let mut view = ViewMut::packed(&mut x, [1, 1, 1, one.rot_dim]).unwrap();
        rope.rotate(Positions::shift(one.position), &mut [&mut view]).unwrap();
        let errors = [f64::from(x[one.t]) - cos, f64::from(x[one.t + one.rot_dim / 2]) - sin];
        let is_near = errors.iter().all(|error| error.abs() <= SIN_COS_ERROR);
        assert!(is_near, "{} pair {} at {}: {errors:?}", one.theta_base, one.t, one.position);
    }
}

#[test]
fn ramps_that_are_narrow_or_run_backwards_are_as_the_formula_has_them() {
    for (fast, slow) in [(1.000_001, 1.0), (1.0, 32.0), (32.0, 32.0), (1e-3, 1e3)] {
        for (original_len, truncate) in
            [(128, false), (4096, true), (4096, false), (1 << 30, false)]
        {
            let yarn =
                Yarn { beta_fast: fast, beta_slow: slow, truncate, ..Yarn::new(8.0, original_len) };
            let theta = Theta::new(1e6).scaled(Scaling::Yarn(yarn));
            let rule = oracle::rope::Yarn {
                beta_fast: fast,
                beta_slow: slow,
                truncate,
                ..oracle::rope::Yarn::new(8.0, original_len.into())
            };
            let exact = oracle::rope::frequencies(1e6, 128, &oracle::rope::Scaling::Yarn(rule));
            let (mut turns, mut inv_freq) = ([0; 64], [0.0; 64]);
            theta.fill(&mut turns).unwrap();
            theta.fill_inv_freq(&mut inv_freq).unwrap();
            for (t, exact) in exact.into_iter().enumerate() {
                let what = format!("{fast} {slow} {original_len} {truncate}: pair {t}");
                assert!(turns[t].abs_diff(oracle::rope::turns_q64(exact)) <= 1, "{what}");
                // A ramp of f32 is steep where it is narrow.
                let (got, exact) = (f64::from(inv_freq[t]), exact.to_f64());
                let is_narrow = fast != slow && (fast - slow).abs() < 1e-3;
                assert!(is_narrow || (got / exact - 1.0).abs() < 1e-5, "{what}: {got:e} {exact:e}");
            }
        }
    }
}
