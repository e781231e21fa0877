//! Sequences of different lengths in one call: each has the bits that it has alone.

use crate::case::{assert_same_bits, normal};
use flashlet::{
    Alibi, Attention, BiasTensor, CacheShape, Error, Heads, Inputs, Level, List, Mask, Offset,
    Outputs, PagedCache, Pages, Pairing, Positions, Precision, Q8_0, RelativeKeys, RelativeValues,
    Rope, Shape, Strides, Tensor, Theta, TurnedQueries, Turns, View, ViewMut, Window,
};
use half::f16;

const HEADS: Heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 64 };
/// Queries and keys of each sequence: prompts, decoders' steps, none at all.
const LENS: [[usize; 2]; 6] = [[70, 130], [1, 97], [0, 5], [3, 3], [1, 200], [2, 150]];
const LONGEST: [usize; 2] = [70, 200];

fn starts() -> Vec<u32> {
    let ends = LENS.iter().scan(0, |end, [queries, _]| {
        *end += *queries as u32;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

fn tokens() -> usize {
    LENS.iter().map(|[queries, _]| queries).sum()
}

/// Outputs and log-sum-exps of sequence `b`, out of those of all.
fn of_sequence(b: usize, o: &[f32], lse: &[f32]) -> Vec<f32> {
    let (starts, width, all) = (starts(), HEADS.q * HEADS.v_dim, tokens());
    let own = starts[b] as usize..starts[b + 1] as usize;
    let lse = lse.chunks(all).flat_map(|lse| &lse[own.clone()]);
    o[own.start * width..own.end * width].iter().chain(lse).copied().collect()
}

/// What may change scores, beside the mask.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Alibi,
    Bias,
    Turned,
    Relative,
}

/// Tensors or caches, all sequences at once and each alone.
struct Given<'a> {
    q: &'a [f32],
    all: &'a dyn Fn(View<'a>) -> Inputs<'a>,
    one: &'a dyn Fn(usize, View<'a>) -> Inputs<'a>,
}

/// A bias of the longest, `[batch, q_heads, q_len, kv_len]`.
fn biases() -> Vec<f32> {
    normal(LENS.len() * HEADS.q * LONGEST[0] * LONGEST[1], 9)
}

fn plan<'m>(plan: Attention<'m>, level: Level, precision: Precision) -> Attention<'m> {
    plan.level(level).unwrap().precision(precision)
}

fn check(given: &Given<'_>, level: Level, precision: Precision, change: Change) {
    let mask = Mask::causal(Offset::BOTTOM_RIGHT) & Window::keys(60);
    let [q_len, kv_len] = LONGEST;
    let (sinks, slopes, starts) = ([0.5, -1.0, 2.0, 0.0], [0.5, 0.25, 0.125, 0.0625], starts());
    let alibi = Alibi::new(&slopes);
    let turns: Turns<16> = Theta::new(1e4).turns().unwrap();
    let rope = Rope::exact(&turns, Pairing::Halves).unwrap();
    let positions: Vec<u32> = LENS.iter().map(|[queries, keys]| (keys - queries) as u32).collect();
    let tables = [HEADS.dim, HEADS.v_dim].map(|dim| normal(50 * HEADS.kv * dim, 10));
    let table = |x, dim| View::packed(x, [1, 50, HEADS.kv, dim]).unwrap();
    let relative_keys = RelativeKeys::new(table(&tables[0], HEADS.dim), -40);
    let relative_values = RelativeValues::new(table(&tables[1], HEADS.v_dim), -40).unwrap();
    let biases = biases();
    let bias = |b: usize, batch, q_len, kv_len| {
        let strides = Strides {
            batch: HEADS.q * LONGEST[0] * LONGEST[1],
            token: LONGEST[1],
            head: LONGEST[0] * LONGEST[1],
        };
        let from = &biases[b * strides.batch..];
        let view = View::strided(from, [batch, q_len, HEADS.q, kv_len], strides).unwrap();
        BiasTensor::new(view)
    };
    let run = |shape: Shape, b: Option<usize>, inputs: Inputs<'_>, parts: usize| {
        let bias = bias(b.unwrap_or(0), shape.batch, shape.q_len, shape.kv_len);
        let positions = match b {
            None => Positions::starts(&positions),
            Some(b) => Positions::starts(&positions[b..=b]),
        };
        let queries = TurnedQueries::new(rope, positions);
        let attention = plan(Attention::new(shape, mask).unwrap(), level, precision);
        let attention = match change {
            Change::None => attention,
            Change::Alibi => attention.modify(&alibi).unwrap(),
            Change::Bias => attention.bias(&bias).unwrap(),
            Change::Turned => attention.turn_queries(&queries).unwrap(),
            Change::Relative => {
                let attention = attention.relative_keys(&relative_keys).unwrap();
                attention.relative_values(&relative_values).unwrap()
            }
        };
        let rows = b.map_or(tokens(), |_| shape.q_len);
        let mut o = vec![f32::NAN; rows * HEADS.q * HEADS.v_dim];
        let mut lse = vec![f32::NAN; rows * HEADS.q];
        let outputs = ViewMut::packed(&mut o, [1, rows, HEADS.q, HEADS.v_dim]).unwrap();
        let outputs = Outputs::new(outputs).lse(&mut *lse).sinks(&sinks);
        if b.is_some() {
            let mut scratch = vec![f32::NAN; attention.scratch_len()];
            attention.bind(inputs, outputs, &mut scratch).unwrap().run();
        } else {
            let mut scratch = vec![f32::NAN; parts * attention.varlen_scratch_len()];
            let call = attention.bind_varlen(inputs, &starts, outputs, &mut scratch).unwrap();
            match parts {
                1 => call.run(),
                _ => call.parts(parts).unwrap().for_each(|part| part.run()),
            }
        }
        (o, lse)
    };
    let all = Shape { batch: LENS.len(), q_len, kv_len, heads: HEADS };
    for parts in [1, 3] {
        let q = View::packed(given.q, [1, tokens(), HEADS.q, HEADS.dim]).unwrap();
        let (o, lse) = run(all, None, (given.all)(q), parts);
        for (b, [q_len, kv_len]) in
            LENS.into_iter().enumerate().filter(|(_, [queries, _])| *queries > 0)
        {
            let own = starts[b] as usize * HEADS.q * HEADS.dim;
            let shape = Shape { batch: 1, q_len, kv_len, heads: HEADS };
            let q = View::packed(&given.q[own..], shape.q()).unwrap();
            let (alone, alone_lse) = run(shape, Some(b), (given.one)(b, q), 1);
            let expected: Vec<f32> = alone.into_iter().chain(alone_lse).collect();
            assert_same_bits(
                &of_sequence(b, &o, &lse),
                &expected,
                format!("{b} {level:?} {precision:?} {change:?}"),
            );
        }
    }
}

#[test]
fn sequences_in_tensors_have_the_bits_that_they_have_alone() {
    let [k, v] = [HEADS.dim, HEADS.v_dim].map(|dim| -> Vec<f16> {
        let x = normal(LENS.len() * LONGEST[1] * HEADS.kv * dim, dim as u64);
        x.into_iter().map(f16::from_f32).collect()
    });
    let q = normal(tokens() * HEADS.q * HEADS.dim, 1);
    let lens = LENS.map(|[_, keys]| keys);
    let views = |b: Option<usize>| {
        let (from, batch, len) = b.map_or((0, LENS.len(), LONGEST[1]), |b| (b, 1, LENS[b][1]));
        let view = |x: &'static [f16], dim: usize| {
            let width = HEADS.kv * dim;
            View::packed(&x[from * LONGEST[1] * width..], [batch, len, HEADS.kv, dim]).unwrap()
        };
        [view(k.clone().leak(), HEADS.dim), view(v.clone().leak(), HEADS.v_dim)]
    };
    let [all_k, all_v] = views(None);
    let given = Given {
        q: &q,
        all: &|q| Inputs::new(q, all_k, all_v).kv_lens(&lens[..]),
        one: &|b, q| {
            let [k, v] = views(Some(b));
            Inputs::new(q, k, v)
        },
    };
    for level in Level::available() {
        for change in [Change::None, Change::Alibi, Change::Bias, Change::Turned, Change::Relative]
        {
            check(&given, level, Precision::F32, change);
        }
        check(&given, level, Precision::Bf16Products, Change::None);
    }
}

#[test]
fn sequences_of_a_paged_cache_have_the_bits_that_they_have_alone() {
    let shape = CacheShape::paged(HEADS, 80, 9);
    let mut keys = vec![Q8_0::default(); shape.key_len::<Q8_0>()];
    let mut values = vec![Q8_0::default(); shape.value_len::<Q8_0>()];
    let mut counts = vec![0; 80];
    let mut cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap().rotated();
    let mut tables = vec![[0; 30]; LENS.len()];
    let mut sequences: Vec<Pages<'_>> = tables.iter_mut().map(|table| Pages::new(table)).collect();
    for (seed, (pages, [_, len])) in sequences.iter_mut().zip(LENS).enumerate() {
        let k = normal(len * HEADS.kv * HEADS.dim, 2 * seed as u64);
        let v = normal(len * HEADS.kv * HEADS.v_dim, 2 * seed as u64 + 1);
        let k = View::packed(&k, [1, len, HEADS.kv, HEADS.dim]).unwrap();
        cache.append(pages, k, View::packed(&v, [1, len, HEADS.kv, HEADS.v_dim]).unwrap()).unwrap();
    }
    let pages: Vec<&Pages<'_>> = sequences.iter().collect();
    let (all, q) = (cache.read(&pages), normal(tokens() * HEADS.q * HEADS.dim, 1));
    let alone: Vec<_> = (0..LENS.len()).map(|b| cache.read(&pages[b..=b])).collect();
    let given = Given {
        q: &q,
        all: &|q| Inputs::cached(q, &all),
        one: &|b, q| Inputs::cached(q, &alone[b]),
    };
    for level in Level::available() {
        for precision in [Precision::F32, Precision::Bf16Products, Precision::Int8Products] {
            check(&given, level, precision, Change::None);
        }
        check(&given, level, Precision::F32, Change::Turned);
    }
}

#[test]
fn starts_that_cannot_be_are_refused() {
    let shape = Shape { batch: 2, q_len: 3, kv_len: 4, heads: HEADS };
    let attention = Attention::new(shape, Mask::full()).unwrap();
    let (q, k, v) = ([0.0; 5 * 128], [0.0; 8 * 64], [0.0; 8 * 128]);
    let mut scratch = vec![0.0; attention.varlen_scratch_len()];
    let mut bind = |starts: &[u32], rows: usize, scratch_len: usize, lse_len: usize| {
        let (mut o, mut lse) = ([0.0; 5 * 256], [0.0; 20]);
        let q = View::packed(&q, [1, 5, 4, 32]).unwrap();
        let k = View::packed(&k, shape.k()).unwrap();
        let inputs = Inputs::new(q, k, View::packed(&v, shape.v()).unwrap());
        let outputs = Outputs::new(ViewMut::packed(&mut o, [1, rows, 4, 64]).unwrap());
        let outputs = outputs.lse(&mut lse[..lse_len]);
        attention
            .bind_varlen(inputs, starts, outputs, &mut scratch[..scratch_len])
            .map(|call| call.run())
    };
    let (list, enough) = (List::QueryEnds, attention.varlen_scratch_len());
    let entry = |index, value, limit| Err(Error::Entry { list, index, value, limit });
    assert_eq!(bind(&[0, 3, 5], 5, enough, 20), Ok(()));
    assert_eq!(bind(&[0, 5], 5, enough, 20), Err(Error::ListLength { list, needed: 3, given: 2 }));
    assert_eq!(bind(&[1, 3, 5], 5, enough, 20), entry(0, 1, 1));
    assert_eq!(bind(&[0, 3, 4], 5, enough, 20), entry(2, 4, 6));
    assert_eq!(bind(&[0, 4, 5], 5, enough, 20), entry(1, 4, 4));
    assert_eq!(
        bind(&[0, 6, 5], 5, enough, 20),
        Err(Error::Order { list, index: 2, before: 6, value: 5 })
    );
    let (expected, given) = ([1, 5, 4, 64], [1, 4, 4, 64]);
    assert_eq!(
        bind(&[0, 3, 5], 4, enough, 20),
        Err(Error::Shape { tensor: Tensor::O, expected, given })
    );
    assert_eq!(
        bind(&[0, 3, 5], 5, enough - 1, 20),
        Err(Error::Scratch { needed: enough, given: enough - 1 })
    );
    assert_eq!(
        bind(&[0, 3, 5], 5, enough, 19),
        Err(Error::Length { tensor: Tensor::Lse, needed: 20, given: 19 })
    );
}

#[test]
fn what_is_gone_of_one_sequence_is_not_asked_of_another() {
    let shape = CacheShape::paged(HEADS, 40, 4);
    let mut keys = vec![0.0_f32; shape.key_len::<f32>()];
    let mut values = vec![0.0_f32; shape.value_len::<f32>()];
    let mut counts = vec![0; 40];
    let mut cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap();
    let (k, v) = (normal(40 * 64, 1), normal(40 * 128, 2));
    let k = View::packed(&k, [1, 40, 2, 32]).unwrap();
    let v = View::packed(&v, [1, 40, 2, 64]).unwrap();
    let mut tables = [[0; 10]; 2];
    let [one, two] = &mut tables;
    let (mut prompt, mut step) = (Pages::new(one), Pages::new(two));
    cache.append(&mut prompt, k, v).unwrap();
    cache.append(&mut step, k, v).unwrap();
    // One query under a window of 8 keys needs none of the first 32; a prompt of 30 queries would.
    cache.evict(&mut step, 0, 32).unwrap();
    let plan = |q_len: usize| {
        let shape = Shape { batch: 2, q_len, kv_len: 40, heads: HEADS };
        Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT) & Window::keys(8)).unwrap()
    };
    let (q, pages) = (normal(31 * 128, 3), [&prompt, &step]);
    let (read, q) = (cache.read(&pages), View::packed(&q, [1, 31, 4, 32]).unwrap());
    let bind = |starts: &[u32]| {
        let (plan, mut o) = (plan(30), vec![0.0; 31 * 256]);
        let mut scratch = vec![0.0; plan.varlen_scratch_len()];
        let outputs = Outputs::new(ViewMut::packed(&mut o, [1, 31, 4, 64]).unwrap());
        plan.bind_varlen(Inputs::cached(q, &read), starts, outputs, &mut scratch).map(|_| ())
    };
    assert_eq!(bind(&[0, 30, 31]), Ok(()));
    assert_eq!(bind(&[0, 1, 31]), Err(Error::Evicted { start: 0, end: 32 }));
}
