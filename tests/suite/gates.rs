//! What models store becomes what linear attention reads, by each family's formula.

use crate::case::normal;
use crate::math::ulps;
use crate::rope::Number;
use flashlet::{
    Error, GatedDelta, Gla, Hgrn2, KimiDelta, Knob, Lightning, Mamba2, Strides, Tensor, View,
    ViewMut, log_sigmoid, retention_decay, retention_decays, rwkv6_gates, rwkv7_gates, sigmoid,
    silu, softplus,
};
use half::{bf16, f16};

/// The formulas in f64, as they are written.
mod exact {
    pub(super) fn softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
    pub(super) fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
}

#[test]
fn functions_end_where_their_limits_are() {
    let infinity = f32::INFINITY;
    for (f, at_least, at_zero, at_most) in [
        (softplus as fn(f32) -> f32, 0.0, std::f32::consts::LN_2, infinity),
        (log_sigmoid, -infinity, -std::f32::consts::LN_2, 0.0),
        (sigmoid, 0.0, 0.5, 1.0),
        (silu, 0.0, 0.0, infinity),
    ] {
        assert_eq!(f(-infinity), at_least);
        assert_eq!([f(0.0), f(-0.0)], [at_zero; 2]);
        assert_eq!(f(infinity), at_most);
        for bit in 0..23 {
            for bits in [0x7f80_0000, 0xff80_0000_u32] {
                assert!(f(f32::from_bits(bits | 1 << bit)).is_nan());
            }
        }
    }
    for x in [17.5, 20.0, 88.0, 89.0, 1e30, f32::MAX] {
        assert_eq!([softplus(x), log_sigmoid(-x), silu(x)], [x, -x, x]);
        assert!(softplus(-x) >= 0.0 && sigmoid(-x) >= 0.0 && silu(-x) <= 0.0);
    }
}

/// `[batch, len, heads]` of what the families are tried on.
const DIMS: [usize; 3] = [2, 3, 4];
const CHANNELS: usize = 5;

const fn dims(channels: usize) -> [usize; 4] {
    [DIMS[0], DIMS[1], DIMS[2], channels]
}

/// Numbers of a tensor, as they are stored.
fn stored<T: Number>(channels: usize, seed: u64, scale: f32) -> Vec<T> {
    let len = dims(channels).into_iter().product();
    normal(len, seed).into_iter().map(|x| T::round(scale * x)).collect()
}

/// The head and the channel of each number of a packed tensor.
fn places(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = DIMS[0] * DIMS[1] * DIMS[2];
    (0..rows).flat_map(move |row| (0..channels).map(move |c| (row % DIMS[2], c)))
}

#[track_caller]
fn assert_near(got: f32, exact: f64, relative: f64) {
    let (got, room) = (f64::from(got), relative * exact.abs() + 1e-44);
    assert!((got - exact).abs() <= room, "{got:e} instead of {exact:e}");
}

/// Three roundings, and the functions: nothing here loses more.
const NEAR: f64 = 6.0 / (1 << 23) as f64;

fn mamba2<T: Number>(d: &[f32], [least, most]: [f32; 2], is_gated: bool) {
    let (a_log, dt_bias) = (normal(DIMS[2], 1), normal(DIMS[2], 2));
    let (dt, x) = (stored::<T>(1, 3, 4.0), stored::<T>(CHANNELS, 4, 1.0));
    let mamba = Mamba2::new(&a_log, &dt_bias).unwrap().skip(d).unwrap();
    let mamba = mamba.limits(least, most).unwrap();
    let view = |x, channels| View::packed(x, dims(channels)).unwrap();
    let (mut gates, mut values) = (vec![0.0; dt.len()], vec![T::round(0.0); x.len()]);
    let mut to_gates = ViewMut::packed(&mut gates, dims(1)).unwrap();
    let mut to_values = ViewMut::packed(&mut values, dims(CHANNELS)).unwrap();
    mamba.prepare(view(&dt, 1), view(&x, CHANNELS), &mut to_gates, &mut to_values).unwrap();

    let step = |row: usize| {
        let sum = dt[row].widen() + dt_bias[row % DIMS[2]];
        exact::softplus(sum.into()).clamp(least.into(), most.into())
    };
    for (row, (h, _)) in places(1).enumerate() {
        assert_near(gates[row], -f64::from(a_log[h]).exp() * step(row), NEAR);
    }
    let rounding = match size_of::<T>() {
        4 => NEAR,
        _ => 1.0 / 256.0,
    };
    for (n, (x, v)) in x.iter().zip(&values).enumerate() {
        assert_near(v.widen(), f64::from(x.widen()) * step(n / CHANNELS), rounding);
    }

    let (z, y) = (stored::<T>(CHANNELS, 5, 3.0), normal(x.len(), 6));
    let mut got = y.clone();
    let mut to = ViewMut::packed(&mut got, dims(CHANNELS)).unwrap();
    mamba.finish(view(&x, CHANNELS), is_gated.then(|| view(&z, CHANNELS)), &mut to).unwrap();
    for (n, (h, c)) in places(CHANNELS).enumerate() {
        let d = match d.len() {
            0 => 0.0,
            len if len == DIMS[2] => d[h],
            _ => d[h * CHANNELS + c],
        };
        let z = f64::from(z[n].widen());
        let gate = if is_gated { z * exact::sigmoid(z) } else { 1.0 };
        let (y, skipped) = (f64::from(y[n]), f64::from(d) * f64::from(x[n].widen()));
        let room = NEAR * (y.abs() + skipped.abs()) * gate.abs();
        let exact = (y + skipped) * gate;
        assert!((f64::from(got[n]) - exact).abs() <= room, "{n}: {} {exact}", got[n]);
    }
}

#[test]
fn mamba2_is_its_formula() {
    let (by_head, by_channel) = (normal(DIMS[2], 7), normal(DIMS[2] * CHANNELS, 8));
    let open = [0.0, f32::INFINITY];
    for (d, limits) in [(&[][..], open), (&by_head, [0.5, 2.0]), (&by_channel, open)] {
        for is_gated in [false, true] {
            mamba2::<f32>(d, limits, is_gated);
            mamba2::<f16>(d, limits, is_gated);
            mamba2::<bf16>(d, limits, is_gated);
        }
    }
}

fn gated_delta<T: Number>() {
    let (a_log, dt_bias) = (normal(DIMS[2], 1), normal(DIMS[2], 2));
    let (a, b) = (stored::<T>(1, 3, 5.0), stored::<T>(1, 4, 5.0));
    let plain = GatedDelta::new(&a_log, &dt_bias).unwrap();
    for (gated, most) in [(plain, 1.0), (plain.negative_eigenvalues(), 2.0)] {
        let (mut gates, mut beta) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        let mut to_gates = ViewMut::packed(&mut gates, dims(1)).unwrap();
        let mut to_beta = ViewMut::packed(&mut beta, dims(1)).unwrap();
        let (from, b_view) = (View::packed(&a, dims(1)), View::packed(&b, dims(1)));
        gated.prepare(from.unwrap(), b_view.unwrap(), &mut to_gates, &mut to_beta).unwrap();
        for (row, (h, _)) in places(1).enumerate() {
            let sum = f64::from(a[row].widen() + dt_bias[h]);
            assert_near(gates[row], -f64::from(a_log[h]).exp() * exact::softplus(sum), NEAR);
            assert_near(beta[row], most * exact::sigmoid(b[row].widen().into()), NEAR);
        }
    }
}

#[test]
fn gated_deltanet_is_its_formula() {
    gated_delta::<f32>();
    gated_delta::<f16>();
    gated_delta::<bf16>();
}

fn kimi_delta<T: Number>(has_bias: bool, bound: Option<f32>) {
    let a_log = normal(DIMS[2], 1);
    let biases = if has_bias { DIMS[2] * CHANNELS } else { 0 };
    let (dt_bias, f, b) =
        (normal(biases, 2), stored::<T>(CHANNELS, 3, 5.0), stored::<T>(1, 4, 5.0));
    let kimi = KimiDelta::new(&a_log, &dt_bias).unwrap();
    let kimi = bound.map_or(kimi, |bound| kimi.lower_bound(bound).unwrap());
    let (mut gates, mut beta) = (vec![0.0; f.len()], vec![0.0; b.len()]);
    let mut to_gates = ViewMut::packed(&mut gates, dims(CHANNELS)).unwrap();
    let mut to_beta = ViewMut::packed(&mut beta, dims(1)).unwrap();
    let (from, b_view) = (View::packed(&f, dims(CHANNELS)), View::packed(&b, dims(1)));
    kimi.prepare(from.unwrap(), b_view.unwrap(), &mut to_gates, &mut to_beta).unwrap();
    for (n, (h, c)) in places(CHANNELS).enumerate() {
        let bias = dt_bias.get(h * CHANNELS + c).copied().unwrap_or(0.0);
        let (sum, rate) = (f64::from(f[n].widen() + bias), f64::from(a_log[h]).exp());
        let (exact, relative) = match bound {
            None => (-rate * exact::softplus(sum), NEAR),
            // The sigmoid's argument is rounded twice.
            Some(bound) => {
                (f64::from(bound) * exact::sigmoid(rate * sum), NEAR + 2e-7 * (rate * sum).abs())
            }
        };
        assert_near(gates[n], exact, relative);
        assert!(gates[n] <= 0.0 && bound.is_none_or(|bound| gates[n] >= bound));
    }
    for (beta, b) in beta.iter().zip(&b) {
        assert_near(*beta, exact::sigmoid(b.widen().into()), NEAR);
    }
}

#[test]
fn kimi_delta_attention_is_its_formula() {
    for has_bias in [false, true] {
        for bound in [None, Some(-5.0), Some(-0.5)] {
            kimi_delta::<f32>(has_bias, bound);
            kimi_delta::<bf16>(has_bias, bound);
        }
    }
}

#[test]
fn hgrn2_is_its_formula_at_both_ends() {
    // Where one of f and 1 - f is tiny, the other is all but 1: neither may be had by subtraction.
    let mut raw = stored::<f32>(CHANNELS, 1, 8.0);
    raw[..4].copy_from_slice(&[-80.0, 80.0, -20.0, 20.0]);
    let bounds: Vec<f32> =
        (0..DIMS[2] * CHANNELS).map(|n| [0.0, 1e-20, 0.3, 0.999, 1.0][n * n % 5]).collect();
    for lower in [&[][..], &bounds] {
        let (mut gates, mut keys) = (vec![0.0; raw.len()], vec![0.0_f32; raw.len()]);
        let mut to_gates = ViewMut::packed(&mut gates, dims(CHANNELS)).unwrap();
        let mut to_keys = ViewMut::packed(&mut keys, dims(CHANNELS)).unwrap();
        let from = View::packed(&raw, dims(CHANNELS)).unwrap();
        Hgrn2::new(lower).unwrap().prepare(from, &mut to_gates, &mut to_keys).unwrap();
        for (n, (h, c)) in places(CHANNELS).enumerate() {
            let lower = f64::from(lower.get(h * CHANNELS + c).copied().unwrap_or(0.0));
            let raw = f64::from(raw[n]);
            let k = (1.0 - lower) * exact::sigmoid(-raw);
            let f = lower + (1.0 - lower) * exact::sigmoid(raw);
            assert_near(keys[n], k, NEAR);
            assert_near(gates[n], if k < 0.5 { (-k).ln_1p() } else { f.ln() }, NEAR);
        }
    }
}

fn of_channels<T: Number>() {
    type Helper<T> = fn(View<'_, T>, &mut ViewMut<'_>) -> Result<(), Error>;
    type Formula = fn(f64) -> f64;
    let raw = stored::<T>(CHANNELS, 1, 6.0);
    let helpers: [(Helper<T>, Formula); 5] = [
        (|raw, gates| Gla::default().gates(raw, gates), |raw| -exact::softplus(-raw) / 16.0),
        (
            |raw, gates| Gla::default().normaliser(3.0)?.gates(raw, gates),
            |raw| -exact::softplus(-raw) / 3.0,
        ),
        (
            |raw, gates| Gla::default().at_least(-0.25)?.gates(raw, gates),
            |raw| (-exact::softplus(-raw) / 16.0).max(-0.25),
        ),
        (rwkv6_gates, |raw| -raw.exp()),
        (rwkv7_gates, |raw| -(-0.5_f64).exp() * exact::sigmoid(raw)),
    ];
    for (helper, exact) in helpers {
        let mut gates = vec![0.0; raw.len()];
        let mut view = ViewMut::packed(&mut gates, dims(CHANNELS)).unwrap();
        helper(View::packed(&raw, dims(CHANNELS)).unwrap(), &mut view).unwrap();
        for (gate, raw) in gates.iter().zip(&raw) {
            assert_near(*gate, exact(raw.widen().into()), NEAR);
        }
        // Another order of rows changes nothing, and a shape that differs is refused.
        let strides = Strides::by_head(dims(CHANNELS)).unwrap();
        let mut by_head = vec![0.0; raw.len()];
        let mut view = ViewMut::strided(&mut by_head, dims(CHANNELS), strides).unwrap();
        helper(View::packed(&raw, dims(CHANNELS)).unwrap(), &mut view).unwrap();
        let at = strides.batch + 2 * strides.token + strides.head;
        let from = ((DIMS[1] + 2) * DIMS[2] + 1) * CHANNELS;
        assert_eq!(by_head[at..][..CHANNELS], gates[from..][..CHANNELS]);
        let mut few = [7.0; CHANNELS];
        let given = [1, 1, 1, CHANNELS];
        let mut view = ViewMut::packed(&mut few, given).unwrap();
        let refused = helper(View::packed(&raw, dims(CHANNELS)).unwrap(), &mut view);
        let (tensor, expected) = (Tensor::Gates, dims(CHANNELS));
        assert_eq!(refused, Err(Error::Shape { tensor, expected, given }));
        assert_eq!(few, [7.0; CHANNELS]);
    }
}

#[test]
fn gates_of_channels_are_their_formulas() {
    of_channels::<f32>();
    of_channels::<f16>();
    of_channels::<bf16>();
}

#[test]
fn special_numbers_stay_what_they_are() {
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let raw = [nan, infinity, -infinity];
    let dims = [1, 3, 1, 1];
    let from = View::packed(&raw, dims).unwrap();
    let gates = |f: &dyn Fn(&mut ViewMut<'_>)| {
        let mut gates = [0.0; 3];
        f(&mut ViewMut::packed(&mut gates, dims).unwrap());
        assert!(gates[0].is_nan(), "{gates:?}");
        [gates[1], gates[2]]
    };
    let gla = Gla::default();
    assert_eq!(gates(&|to| gla.gates(from, to).unwrap()), [0.0, -infinity]);
    let gla = gla.at_least(-3.0).unwrap();
    assert_eq!(gates(&|to| gla.gates(from, to).unwrap()), [0.0, -3.0]);
    assert_eq!(gates(&|to| rwkv6_gates(from, to).unwrap()), [-infinity, 0.0]);
    assert_eq!(gates(&|to| rwkv7_gates(from, to).unwrap()), [-(-0.5_f32).exp(), 0.0]);
    for (lower, expected) in [(0.0, -infinity), (0.5, 0.5_f32.ln())] {
        let lower = [lower];
        let hgrn = Hgrn2::new(&lower).unwrap();
        let keys = |to: &mut ViewMut<'_>| {
            let mut keys = [0.0_f32; 3];
            let mut to_keys = ViewMut::packed(&mut keys, dims).unwrap();
            hgrn.prepare(from, to, &mut to_keys).unwrap();
            assert!(keys[0].is_nan() && keys[1] == 0.0 && keys[2] == 1.0 - lower[0]);
        };
        assert_eq!(gates(&keys), [0.0, expected]);
    }
    let beta = |to: &mut ViewMut<'_>, is_bounded: bool| {
        let mut beta = [0.0; 3];
        let mut to_beta = ViewMut::packed(&mut beta, dims).unwrap();
        if is_bounded {
            let kimi = KimiDelta::new(&[0.0], &[]).unwrap().lower_bound(-4.0).unwrap();
            kimi.prepare(from, from, to, &mut to_beta).unwrap();
        } else {
            GatedDelta::new(&[0.0], &[]).unwrap().prepare(from, from, to, &mut to_beta).unwrap();
        }
        assert!(beta[0].is_nan());
        assert_eq!(beta[1..], [1.0, 0.0]);
    };
    assert_eq!(gates(&|to| beta(to, false)), [-infinity, 0.0]);
    assert_eq!(gates(&|to| beta(to, true)), [-4.0, 0.0]);
    for (most, at_most) in [(infinity, -infinity), (3.0, -3.0)] {
        let mamba = |to: &mut ViewMut<'_>| {
            let mut values = [0.0_f32; 3];
            let mut to_values = ViewMut::packed(&mut values, dims).unwrap();
            let mamba = Mamba2::new(&[0.0], &[]).unwrap().limits(0.25, most).unwrap();
            let ones = View::packed(&[1.0_f32; 3], dims).unwrap();
            mamba.prepare(from, ones, to, &mut to_values).unwrap();
            assert_eq!(values[1..], [most, 0.25]);
        };
        assert_eq!(gates(&mamba), [at_most, -0.25]);
    }
}

#[test]
fn decays_of_heads_are_rounded_once() {
    const IN_A_CONSTANT: f32 = retention_decay(3);
    assert_eq!(IN_A_CONSTANT, (-(2.0_f64.powi(-8))).ln_1p() as f32);
    let mut decay = [1.0; 200];
    retention_decays(&mut decay);
    for (h, decay) in decay.into_iter().enumerate() {
        assert_eq!(decay, (-(2.0_f64.powi(-5 - h as i32))).ln_1p() as f32, "head {h}");
        assert!(decay.is_sign_negative());
    }
    assert_eq!(retention_decay(usize::MAX), 0.0);

    for (layer, layers, heads) in [(0, 1, 1), (3, 80, 64), (79, 80, 7)] {
        let lightning = Lightning::new(layer, layers).unwrap();
        let mut decay = vec![1.0; heads];
        lightning.decays(&mut decay);
        for (h, decay) in decay.into_iter().enumerate() {
            let left = 1.0 - f64::from(layer) / f64::from(layers);
            let exact = -(8.0 / heads as f64) * left * h as f64;
            assert!(ulps(decay, exact) <= 0.51 || decay == 0.0 && h == 0, "{decay} {exact}");
        }
    }
    assert_eq!(Lightning::new(4, 4), Err(Error::Layer { layer: 4, layers: 4 }));
    assert_eq!(Lightning::new(0, 1).unwrap().decay(0, 0), 0.0);
}

#[test]
fn lists_of_another_length_are_refused() {
    let length = |tensor, needed, given| Error::Length { tensor, needed, given };
    let (two, three, none) = ([0.0; 2], [0.0; 3], &[][..]);
    assert_eq!(Mamba2::new(&two, &three).unwrap_err(), length(Tensor::StepBias, 2, 3));
    assert_eq!(GatedDelta::new(&two, &three).unwrap_err(), length(Tensor::StepBias, 2, 3));
    assert_eq!(KimiDelta::new(&two, &three).unwrap_err(), length(Tensor::StepBias, 4, 3));
    assert_eq!(KimiDelta::new(none, &three).unwrap_err(), length(Tensor::StepBias, 0, 3));
    let mamba = Mamba2::new(&two, none).unwrap();
    assert_eq!(mamba.skip(&three).unwrap_err(), length(Tensor::Skip, 4, 3));
    // Whether D has a number a channel shows when there are channels.
    let (four, x) = ([0.0; 4], [0.0; 6]);
    let mut y = [1.0; 6];
    let mut to = ViewMut::packed(&mut y, [1, 1, 2, 3]).unwrap();
    let x = View::packed(&x, [1, 1, 2, 3]).unwrap();
    let refused = mamba.skip(&four).unwrap().finish(x, None, &mut to);
    assert_eq!(refused, Err(length(Tensor::Skip, 6, 4)));
    let hgrn = Hgrn2::new(&four).unwrap();
    let mut keys = [1.0; 6];
    let refused = hgrn.prepare(x, &mut to, &mut ViewMut::packed(&mut keys, [1, 1, 2, 3]).unwrap());
    assert_eq!(refused, Err(length(Tensor::LowerBounds, 6, 4)));
    assert_eq!((y, keys), ([1.0; 6], [1.0; 6]));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let refused = |knob, number: f32| Error::Gates { knob, bits: number.to_bits() };
    let nan = f32::NAN;
    let mamba = Mamba2::new(&[], &[]).unwrap();
    for least in [-0.1, f32::INFINITY, nan] {
        assert_eq!(mamba.limits(least, 1.0).unwrap_err(), refused(Knob::LeastStep, least));
    }
    for most in [0.4, nan] {
        assert_eq!(mamba.limits(0.5, most).unwrap_err(), refused(Knob::MostStep, most));
    }
    for bound in [-5.1, 0.0, 1.0, nan] {
        let kimi = KimiDelta::new(&[], &[]).unwrap();
        assert_eq!(kimi.lower_bound(bound).unwrap_err(), refused(Knob::LowerBound, bound));
    }
    for bound in [-0.1, 1.1, nan] {
        assert_eq!(Hgrn2::new(&[0.5, bound]).unwrap_err(), refused(Knob::LowerBound, bound));
    }
    for normaliser in [0.0, -1.0, f32::INFINITY, nan] {
        let error = Gla::default().normaliser(normaliser).unwrap_err();
        assert_eq!(error, refused(Knob::Normaliser, normaliser));
    }
    for least in [0.1, nan] {
        assert_eq!(Gla::default().at_least(least).unwrap_err(), refused(Knob::LeastGate, least));
    }
    let error = Gla::default().normaliser(0.0).unwrap_err();
    assert_eq!(error.to_string(), "the normaliser of gates = 0 is out of range");
}

/// Each tensor in turn one channel too wide; what is said of it, and that nothing was written.
fn assert_refuses<const N: usize>(
    tensors: [(Tensor, usize); N],
    call: impl Fn([usize; N], &mut [f32], &mut [f32]) -> Result<(), Error>,
) {
    for (n, (tensor, channels)) in tensors.into_iter().enumerate() {
        let mut wide = tensors.map(|(_, channels)| channels);
        wide[n] += 1;
        let (mut one, mut two) = ([7.0; 8], [7.0; 8]);
        let refused = call(wide, &mut one, &mut two);
        let (expected, given) = ([1, 1, 2, channels], [1, 1, 2, channels + 1]);
        assert_eq!(refused, Err(Error::Shape { tensor, expected, given }));
        assert_eq!((one, two), ([7.0; 8], [7.0; 8]), "{tensor}");
    }
    let (mut one, mut two) = ([7.0; 8], [7.0; 8]);
    assert_eq!(call(tensors.map(|(_, channels)| channels), &mut one, &mut two), Ok(()));
}

#[test]
fn tensors_of_another_shape_are_refused_and_nothing_is_written() {
    let (zeros, parameters) = ([0.0; 8], [0.0; 6]);
    let heads = &parameters[..2];
    let from = |channels| View::packed(&zeros, [1, 1, 2, channels]).unwrap();
    fn to(to: &mut [f32], channels: usize) -> ViewMut<'_> {
        ViewMut::packed(to, [1, 1, 2, channels]).unwrap()
    }
    let mamba = Mamba2::new(heads, heads).unwrap();
    assert_refuses([(Tensor::Steps, 1), (Tensor::Gates, 1), (Tensor::V, 3)], |n, one, two| {
        mamba.prepare(from(n[0]), from(3), &mut to(one, n[1]), &mut to(two, n[2]))
    });
    assert_refuses([(Tensor::Z, 3), (Tensor::O, 3)], |n, one, _| {
        mamba.finish(from(3), Some(from(n[0])), &mut to(one, n[1]))
    });
    let gated = GatedDelta::new(heads, heads).unwrap();
    let tensors =
        |dim| [(Tensor::Steps, dim), (Tensor::RawBeta, 1), (Tensor::Gates, dim), (Tensor::Beta, 1)];
    assert_refuses(tensors(1), |n, one, two| {
        gated.prepare(from(n[0]), from(n[1]), &mut to(one, n[2]), &mut to(two, n[3]))
    });
    let kimi = KimiDelta::new(heads, &parameters).unwrap();
    assert_refuses(tensors(3), |n, one, two| {
        kimi.prepare(from(n[0]), from(n[1]), &mut to(one, n[2]), &mut to(two, n[3]))
    });
    let hgrn = Hgrn2::new(&parameters).unwrap();
    assert_refuses([(Tensor::Gates, 3), (Tensor::K, 3)], |n, one, two| {
        hgrn.prepare(from(3), &mut to(one, n[0]), &mut to(two, n[1]))
    });
    // Heads come from the parameters.
    let mut y = [7.0; 8];
    let one = View::packed(&zeros, [1, 2, 1, 3]).unwrap();
    let (expected, given) = ([1, 2, 2, 3], [1, 2, 1, 3]);
    let error = Error::Shape { tensor: Tensor::X, expected, given };
    assert_eq!(mamba.finish(one, None, &mut ViewMut::packed(&mut y, given).unwrap()), Err(error));
    assert_eq!(y, [7.0; 8]);
}

#[test]
fn tensors_of_nothing_are_left_alone_at_once() {
    let parameters = [0.0; 2];
    let dims = [1 << 40, 0, 2, 1];
    let mut views = [[0.0; 0]; 2];
    let [one, two] = views.each_mut().map(|to| ViewMut::packed(to, dims).unwrap());
    let (mut one, mut two) = (one, two);
    let from = View::<f32>::packed(&[], dims).unwrap();
    Mamba2::new(&parameters, &[]).unwrap().prepare(from, from, &mut one, &mut two).unwrap();
    Mamba2::new(&parameters, &[]).unwrap().finish(from, None, &mut one).unwrap();
    GatedDelta::new(&parameters, &[]).unwrap().prepare(from, from, &mut one, &mut two).unwrap();
    KimiDelta::new(&parameters, &[]).unwrap().prepare(from, from, &mut one, &mut two).unwrap();
    Hgrn2::new(&[]).unwrap().prepare(from, &mut one, &mut two).unwrap();
    rwkv6_gates(from, &mut one).unwrap();
}
