//! Decoding in a window: keys turn onto a ring of int8, queries turn, and see what the ring holds.

use super::entries::DECODE;
use super::{
    Device, Judge, Meter, STREAM, STREAM_EXACT, STREAM_FUSED, STREAM_K, STREAM_Q, STREAM_THETA,
    STREAM_UNFUSED, STREAM_V,
};
use crate::Outcome;
use flashlet::{
    Attention, CacheShape, Error, Heads, Inputs, KvCache, Level, Mask, Offset, Outputs, Pairing,
    Positions, Rope, Scales, Shape, Theta, TurnedKeys, Turns, View, ViewMut, Window as Keys,
};

const TOKENS: usize = STREAM[0];
const DECODED: usize = STREAM[1];
const WINDOW: usize = STREAM[2];
const Q_HEADS: usize = STREAM[3];
const DIM: usize = STREAM[4];
const HEADS: Heads = Heads::new(Q_HEADS, 1, DIM);
const SHAPE: CacheShape = CacheShape::new(HEADS, WINDOW);
const TURNS: Turns<{ DIM / 2 }> = match Theta::new(STREAM_THETA).turns() {
    Ok(turns) => turns,
    Err(_) => panic!("a base that no model has"),
};

/// Four heads of 32 channels on one, a window of 128 tokens: its ring, the token at hand, and scratch.
#[derive(Debug)]
pub struct Window {
    codes: [[i8; WINDOW * DIM]; 2],
    scales: [[f32; WINDOW]; 2],
    q: [f32; Q_HEADS * DIM],
    o: [f32; Q_HEADS * DIM],
    scratch: [f32; DECODE.scratch_len(HEADS)],
}

impl Device for Window {
    const NAME: &'static str = "window";

    const NEW: Self = Window {
        codes: [[0; WINDOW * DIM]; 2],
        scales: [[0.0; WINDOW]; 2],
        q: [0.0; Q_HEADS * DIM],
        o: [0.0; Q_HEADS * DIM],
        scratch: [0.0; DECODE.scratch_len(HEADS)],
    };

    fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, Error> {
        let limits = if DECODE.level().is_fused() { STREAM_FUSED } else { STREAM_UNFUSED };
        let ([keys, values], [ks, vs]) = (&mut self.codes, &mut self.scales);
        let cache = KvCache::new(SHAPE, keys, values)?;
        let cache = cache.scales(Scales::ByToken(ks), Scales::ByToken(vs))?;
        let mut cache = cache.ring(0)?;
        let mut judge = Judge::default();
        for token in 0..TOKENS {
            if token < TOKENS - DECODED {
                learn(token, &mut cache)?;
                continue;
            }
            self.o.fill(f32::NAN);
            let room = (&mut self.q, &mut self.o, &mut self.scratch[..]);
            meter.measure(|| decode(token, &mut cache, room))?;
            let first = (token + DECODED - TOKENS) * self.o.len();
            judge.see(&self.o, first, STREAM_EXACT, limits);
        }
        Ok(judge.outcome())
    }
}

fn rope() -> Result<Rope<'static>, Error> {
    Rope::exact(&TURNS, Pairing::Halves)?.level(Level::Scalar)
}

/// A token's heads.
fn row(all: &'static [f32], token: usize, heads: usize) -> Result<View<'static>, Error> {
    let at = token * heads * DIM..(token + 1) * heads * DIM;
    View::packed(all.get(at).unwrap_or(&[]), [1, 1, heads, DIM])
}

/// Keeps a token: its key turns.
fn learn(token: usize, cache: &mut KvCache<'_, i8>) -> Result<(), Error> {
    let key = TurnedKeys::new(rope()?, row(STREAM_K, token, 1)?, Positions::from(token as u32))?;
    cache.append(&key, row(STREAM_V, token, 1)?)
}

/// A step: keeps a token and attends to the window that it ends.
#[inline(never)]
fn decode(
    token: usize,
    cache: &mut KvCache<'_, i8>,
    (q, o, scratch): (&mut [f32; Q_HEADS * DIM], &mut [f32; Q_HEADS * DIM], &mut [f32]),
) -> Result<(), Error> {
    learn(token, cache)?;
    let from = STREAM_Q.get(token * q.len()..).unwrap_or(&[]);
    q.iter_mut().zip(from).for_each(|(to, x)| *to = *x);
    let shape = Shape { batch: 1, q_len: 1, kv_len: cache.len(), heads: HEADS };
    let mut turned = ViewMut::packed(q, shape.q())?;
    rope()?.rotate(Positions::from(token as u32), &mut [&mut turned])?;
    let mask = Mask::window(Offset::BOTTOM_RIGHT, Keys::keys(WINDOW));
    let attention = Attention::with_entry(shape, mask, DECODE)?;
    let inputs = Inputs::cached(View::packed(q, shape.q())?, cache);
    let outputs = Outputs::new(ViewMut::packed(o, shape.o())?);
    attention.bind(inputs, outputs, scratch)?.run();
    Ok(())
}
