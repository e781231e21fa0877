//! Multi-head attention as a block of a model: projections around the kernel.
//!
//! ```text
//! Q = X W_q,  K = Y W_k,  V = Y W_v        [tokens, heads x channels], which the kernel reads as it lies
//! O = attention(Q, K, V)                   every head by itself
//! Z = O W_o
//! ```
//! (Vaswani et al., "Attention Is All You Need", arXiv 1706.03762.) An encoder attends to itself, a decoder to what it
//! has said so far and to the encoder; token by token with a cache, which must give what the whole prompt gives.
//! The products of matrices are `ndarray`'s: `cargo run --release --example multi_head`.

use flashlet::{Attention, Error, Heads, Inputs, Mask, Offset, Outputs, Shape, View, ViewMut};
use ndarray::{Array2, ArrayView2, concatenate, s};

/// The weights of one block. Query heads may share key/value heads.
struct MultiHead {
    heads: Heads,
    w_q: Array2<f32>,
    w_k: Array2<f32>,
    w_v: Array2<f32>,
    w_o: Array2<f32>,
}

/// Keys and values of the tokens so far, a row each.
#[derive(Clone)]
struct Cache {
    k: Array2<f32>,
    v: Array2<f32>,
}

impl MultiHead {
    /// Random weights that keep the size of what goes through.
    fn random(model: usize, heads: Heads, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut matrix = |rows: usize, columns: usize| {
            let size = 1.0 / (rows as f32).sqrt();
            Array2::from_shape_simple_fn((rows, columns), || size * (2.0 * random.f32() - 1.0))
        };
        MultiHead {
            heads,
            w_q: matrix(model, heads.q * heads.dim),
            w_k: matrix(model, heads.kv * heads.dim),
            w_v: matrix(model, heads.kv * heads.v_dim),
            w_o: matrix(heads.q * heads.v_dim, model),
        }
    }

    /// Keys and values of some tokens `[tokens, model]`.
    fn cache(&self, tokens: ArrayView2<'_, f32>) -> Cache {
        Cache { k: tokens.dot(&self.w_k), v: tokens.dot(&self.w_v) }
    }

    /// What tokens `[tokens, model]` make of a cache, under a mask.
    fn attend(
        &self,
        tokens: ArrayView2<'_, f32>,
        cache: &Cache,
        mask: Mask,
    ) -> Result<Array2<f32>, Error> {
        Ok(self.heads(&tokens.dot(&self.w_q), cache, mask)?.dot(&self.w_o))
    }

    /// The heads alone: queries `[tokens, heads x channels]` to outputs of the same shape.
    fn heads(&self, q: &Array2<f32>, cache: &Cache, mask: Mask) -> Result<Array2<f32>, Error> {
        let heads = self.heads;
        let shape = Shape { batch: 1, q_len: q.nrows(), kv_len: cache.k.nrows(), heads };
        let attention = Attention::new(shape, mask)?;
        let inputs = Inputs::new(
            View::packed(rows(q), shape.q())?,
            View::packed(rows(&cache.k), shape.k())?,
            View::packed(rows(&cache.v), shape.v())?,
        );
        let mut o = Array2::zeros((shape.q_len, heads.q * heads.v_dim));
        let mut scratch = vec![0.0; attention.scratch_len()];
        let out = o.as_slice_mut().expect("made row after row");
        let outputs = Outputs::new(ViewMut::packed(out, shape.o())?);
        attention.bind(inputs, outputs, &mut scratch)?.run();
        Ok(o)
    }
}

impl Cache {
    /// More tokens behind those that are there.
    fn append(&mut self, other: &Cache) {
        let joined = |a: &Array2<f32>, b: &Array2<f32>| {
            concatenate(ndarray::Axis(0), &[a.view(), b.view()]).expect("rows of one width")
        };
        *self = Cache { k: joined(&self.k, &other.k), v: joined(&self.v, &other.v) };
    }
}

/// Row after row, as `dot` and `concatenate` make them.
fn rows(matrix: &Array2<f32>) -> &[f32] {
    matrix.as_slice().expect("row after row")
}

/// An encoder over `source`, then a decoder over `target`: all at once, and token by token.
fn translate(source: &Array2<f32>, target: &Array2<f32>) -> Result<[Array2<f32>; 2], Error> {
    let model = source.ncols();
    let encoder = MultiHead::random(model, Heads::new(8, 8, 16), 1);
    let own = MultiHead::random(model, Heads::new(8, 2, 16), 2);
    let cross = MultiHead::random(model, Heads::new(8, 2, 16), 3);

    let memory = encoder.attend(source.view(), &encoder.cache(source.view()), Mask::full())?;
    let memory = cross.cache(memory.view());

    let said =
        own.attend(target.view(), &own.cache(target.view()), Mask::causal(Offset::TOP_LEFT))?;
    let at_once = cross.attend(said.view(), &memory, Mask::full())?;

    let mut cache = own.cache(target.slice(s![0..0, ..]));
    let mut one_by_one = Array2::zeros((0, model));
    for token in target.rows() {
        let token = token.insert_axis(ndarray::Axis(0));
        cache.append(&own.cache(token));
        let said = own.attend(token, &cache, Mask::causal(Offset::BOTTOM_RIGHT))?;
        let output = cross.attend(said.view(), &memory, Mask::full())?;
        one_by_one.append(ndarray::Axis(0), output.view()).expect("rows of one width");
    }
    Ok([at_once, one_by_one])
}

/// Tokens `[tokens, model]` of random numbers.
fn tokens(len: usize, model: usize, seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn((len, model), || 2.0 * random.f32() - 1.0)
}

fn main() -> Result<(), Error> {
    let [at_once, one_by_one] = translate(&tokens(50, 128, 4), &tokens(20, 128, 5))?;
    let difference = (&at_once - &one_by_one).iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    println!("20 tokens at once and one by one: {difference:.1e} apart at most");
    Ok(())
}

#[test]
fn heads_give_the_same_bits_at_once_and_one_by_one() {
    let block = MultiHead::random(64, Heads::new(6, 2, 16), 1);
    for len in [1, 7, 130] {
        let tokens = tokens(len, 64, 2);
        let (q, all) = (tokens.dot(&block.w_q), block.cache(tokens.view()));
        let at_once = block.heads(&q, &all, Mask::causal(Offset::TOP_LEFT)).unwrap();
        let mut cache = block.cache(tokens.slice(s![0..0, ..]));
        for (i, expected) in at_once.rows().into_iter().enumerate() {
            let row = |x: &Array2<f32>| x.slice(s![i..=i, ..]).to_owned();
            cache.append(&Cache { k: row(&all.k), v: row(&all.v) });
            let output = block.heads(&row(&q), &cache, Mask::causal(Offset::BOTTOM_RIGHT)).unwrap();
            assert_eq!(output.row(0), expected, "token {i} of {len}");
        }
    }
}

#[test]
fn an_encoder_and_a_decoder_go_together() {
    let [at_once, one_by_one] = translate(&tokens(9, 32, 3), &tokens(4, 32, 4)).unwrap();
    assert_eq!((at_once.dim(), one_by_one.dim()), ((4, 32), (4, 32)));
    assert!(at_once.iter().chain(&one_by_one).all(|x| x.is_finite()));
}
