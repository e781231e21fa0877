//! Heads and layouts of models: latent keys, packed projections, groups of any size.

use crate::case::{Case, FORMATS, Output, Rule, Tensor, entries_for, shape};
use flashlet::{Attention, Error, Heads, Inputs, Precision, Shape, Strides, View};
use oracle::Format;

/// Keys whose first channels are the values, in a format: what a plan makes of them, and of a copy of the values.
fn latent(case: &Case, plan: &Attention, format: Format) -> [Output; 2] {
    let (Shape { heads, .. }, shape) = (case.shape, case.shape);
    let (q, k) = (Tensor::rounded(&case.q, format), Tensor::rounded(&case.k, format));
    let copied: Vec<f32> =
        case.k.chunks(heads.dim).flat_map(|row| row[..heads.v_dim].to_vec()).collect();
    let copied = Tensor::rounded(&copied, format);
    let strides = |dims| Strides::by_token(dims).unwrap();
    let q = q.view(shape.q(), strides(shape.q()));
    let keys = k.view(shape.k(), strides(shape.k()));
    let shared = k.view(shape.v(), strides(shape.k()));
    let apart = copied.view(shape.v(), strides(shape.v()));
    [shared, apart].map(|values| {
        let mut output = case.unwritten();
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let outputs = output.as_outputs(shape);
        plan.bind(Inputs::new(q, keys, values), outputs, &mut scratch).unwrap().run();
        output
    })
}

#[test]
fn values_that_begin_the_keys_give_the_bits_of_a_copy_of_them() {
    let deepseek = Heads { q: 40, kv: 1, dim: 576, v_dim: 512 };
    let small = Heads { q: 6, kv: 2, dim: 20, v_dim: 12 };
    for (heads, q_len) in [(deepseek, 1), (deepseek, 3), (small, 1), (small, 90)] {
        let rule = Rule::causal(200 - q_len as i64);
        let case = Case::random(shape(q_len, 200, heads), rule, 12);
        for format in FORMATS {
            let mut rounded = case.rounded_to([format; 3]);
            rounded.v =
                rounded.k.chunks(heads.dim).flat_map(|k| k[..heads.v_dim].to_vec()).collect();
            for entry in entries_for(heads) {
                let [shared, apart] = latent(&case, &case.plan_of(entry), format);
                shared.assert_same(&apart, entry.name());
                rounded.assert_certified(&entry, &shared);
            }
            let pairs = case.plan().precision(Precision::Bf16Products);
            let [shared, apart] = latent(&case, &pairs, format);
            shared.assert_same(&apart, "pairs");
        }
    }
}

#[test]
fn a_view_has_no_more_channels_than_its_rows() {
    let x = [0.0; 24];
    let view = View::packed(&x, [1, 3, 2, 4]).unwrap();
    assert_eq!(view.prefix(3).unwrap().dims(), [1, 3, 2, 3]);
    assert_eq!(view.prefix(5).err(), Some(Error::TooShort { needed: 5, given: 4 }));
}

#[test]
fn queries_keys_and_values_may_lie_in_one_row_of_a_token() {
    // As one linear layer writes them: [len, (q_heads + 2 kv_heads) * dim].
    let heads = Heads::new(6, 2, 32);
    let case = Case::random(shape(70, 70, heads), Rule::causal(0), 13);
    let width = (heads.q + 2 * heads.kv) * 32;
    let mut qkv = vec![f32::NAN; 70 * width];
    for (i, token) in qkv.chunks_mut(width).enumerate() {
        let (q, rest) = token.split_at_mut(heads.q * 32);
        let (k, v) = rest.split_at_mut(heads.kv * 32);
        q.copy_from_slice(&case.q[i * heads.q * 32..][..heads.q * 32]);
        k.copy_from_slice(&case.k[i * heads.kv * 32..][..heads.kv * 32]);
        v.copy_from_slice(&case.v[i * heads.kv * 32..][..heads.kv * 32]);
    }
    let strides = Strides { batch: 0, token: width, head: 32 };
    let view = |first: usize, dims| View::strided(&qkv[first * 32..], dims, strides).unwrap();
    let Case { shape, .. } = case;
    for entry in entries_for(heads) {
        let plan = case.plan_of(entry);
        let (mut output, mut scratch) = (case.unwritten(), vec![f32::NAN; plan.scratch_len()]);
        let inputs = Inputs::new(
            view(0, shape.q()),
            view(heads.q, shape.k()),
            view(heads.q + heads.kv, shape.v()),
        );
        plan.bind(inputs, output.as_outputs(shape), &mut scratch).unwrap().run();
        output.assert_same(&case.run(&plan), entry.name());
    }
}

#[test]
fn groups_of_any_size_are_certified() {
    for group in 1..=71 {
        let heads = Heads { q: 2 * group, kv: 2, dim: 5, v_dim: 3 };
        for (q_len, seed) in [(1, 1), (3, 2)] {
            let rule = Rule::causal(40 - q_len as i64);
            let case = Case::random(shape(q_len, 40, heads), rule, seed + group as u64);
            let mut same: [Option<Output>; 2] = [None, None];
            for entry in entries_for(heads) {
                let output = case.run_entry(entry);
                case.assert_certified(&entry, &output);
                let same = &mut same[usize::from(entry.level().is_fused())];
                output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
            }
        }
    }
}
