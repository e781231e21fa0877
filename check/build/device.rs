//! What a device does token by token: decoding against a ring of int8, and a gated delta rule.

use std::fmt::Write;
use std::path::Path;

use flashlet::{
    CacheShape, Cached, Heads, KvCache, Level, Pairing, Positions, Rope, Scales, Side, Theta,
    TurnedKeys, Turns, View, ViewMut,
};
use oracle::Format;
use oracle::fixed::{Codes, FixedRow};
use oracle::linear::{Arithmetic, Features, Gate, Problem, Rule, certify};

use crate::Sight;
use crate::expect::Expected;
use crate::head::{Head, Part, Projections, first};
use crate::numbers::{Number, numbers, round_up, write};

const FILE: &str = "smollm2-l0";
/// Query heads, of one key/value head, and its channels.
const HEADS: usize = 4;
const DIM: usize = 32;
/// Tokens that a query sees, and that there is room for.
const WINDOW: usize = 128;
/// Tokens of the stream, and how many of them are decoded: the last, when the ring has come round.
const STREAM: usize = 146;
const DECODED: usize = 4;
const THETA: f64 = 100_000.0;
/// Tokens of the recurrence.
const TOKENS: usize = 12;

/// Writes `device.rs`, and the numbers that it refers to.
pub(crate) fn embed(dir: &Path) {
    let text = window(dir) + &gated(dir) + &integer(dir);
    write(&dir.join("device.rs"), text.as_bytes());
}

/// Numbers under a name.
fn constant<T: Number>(dir: &Path, name: &str, all: &[T]) -> String {
    let (read, number) = (numbers(dir, &format!("device.{name}"), all), T::TYPE);
    format!("pub(crate) static {name}: &[{number}] = {read};\n")
}

/// Heads of [`DIM`] channels: three of 64 channels are four of 32 and more.
fn narrow(all: &[f32], width: usize, kept: usize) -> Vec<f32> {
    let tokens = all.chunks_exact(width);
    tokens.flat_map(|token| token.chunks_exact(DIM).take(kept)).flatten().copied().collect()
}

/// As many tokens as the stream has, over and over.
fn stream(all: Vec<f32>, width: usize) -> Vec<f32> {
    all.into_iter().cycle().take(STREAM * width).collect()
}

/// A stream, and what a cache holds of it. That is asked of flashlet: an error of attention is what is made of the codes,
/// not theirs.
fn window(dir: &Path) -> String {
    let (file, head) = (Projections::read(FILE), Head::read(FILE));
    let q = stream(narrow(&file.q, file.q_heads * file.head_dim, HEADS), HEADS * DIM);
    let k = stream(narrow(&file.k, file.kv_heads * file.head_dim, 1), DIM);
    let v = stream(narrow(&head.v, head.shape.kv_heads * head.shape.v_dim, 1), DIM);

    let turns: Turns<{ DIM / 2 }> = Theta::new(THETA).turns().expect("a usual base");
    let rope = Rope::exact(&turns, Pairing::Halves).expect("as many pairs as a head has");
    let rope = rope.level(Level::Scalar).expect("all have it");
    let shape = CacheShape::new(Heads::new(HEADS, 1, DIM), WINDOW);
    let mut codes = [[0_i8; WINDOW * DIM]; 2];
    let mut scales = [[0.0_f32; WINDOW]; 2];
    let ([keys, values], [ks, vs]) = (&mut codes, &mut scales);
    let cache = KvCache::new(shape, keys, values).expect("as much as it says");
    let cache = cache.scales(Scales::ByToken(ks), Scales::ByToken(vs)).expect("one a token");
    let mut cache = cache.ring(0).expect("there is room");

    let mut text = String::new();
    let (mut exact, mut fused, mut unfused) = (vec![], vec![], vec![]);
    for token in 0..STREAM {
        let position = Positions::from(token as u32);
        let of = |all: &[f32], heads: usize| all[token * heads * DIM..][..heads * DIM].to_vec();
        let (k, v, mut q) = (of(&k, 1), of(&v, 1), of(&q, HEADS));
        let key = View::packed(&k, [1, 1, 1, DIM]).expect("a row");
        let key = TurnedKeys::new(rope, key, position).expect("a row");
        cache.append(&key, View::packed(&v, [1, 1, 1, DIM]).expect("a row")).expect("a ring");
        if token + DECODED < STREAM {
            continue;
        }
        let mut turned = ViewMut::packed(&mut q, [1, 1, HEADS, DIM]).expect("a row");
        rope.rotate(position, &mut [&mut turned]).expect("a row");
        let seen = cache.len() - WINDOW..cache.len();
        let kept = |side| {
            let mut all = vec![0.0; WINDOW * DIM];
            cache.load(side, [0, 0], seen.clone(), &mut all).expect("they are there");
            all
        };
        let (k, v) = (kept(Side::Keys), kept(Side::Values));
        let head = Head {
            shape: oracle::Shape {
                batch: 1,
                q_len: 1,
                kv_len: WINDOW,
                q_heads: HEADS,
                kv_heads: 1,
                head_dim: DIM,
                v_dim: DIM,
            },
            scale: 1.0 / (DIM as f64).sqrt(),
            q,
            k,
            v,
            o: vec![],
            lse: vec![],
        };
        let expected = Expected::of(&head, Sight::All);
        exact.extend(expected.o);
        fused.extend(expected.fused.o);
        unfused.extend(expected.unfused.o);
    }
    for (name, all) in [("STREAM_Q", &q), ("STREAM_K", &k), ("STREAM_V", &v)] {
        text += &constant(dir, name, all);
    }
    let exact = numbers(dir, "device.STREAM_EXACT", &exact);
    writeln!(
        text,
        "pub(crate) static STREAM_EXACT: &[f64] = {exact};\n{}{}\
         pub(crate) const STREAM: [usize; 5] = [{STREAM}, {DECODED}, {WINDOW}, {HEADS}, {DIM}];\n\
         pub(crate) const STREAM_THETA: f64 = {THETA:?};",
        constant(dir, "STREAM_FUSED", &fused),
        constant(dir, "STREAM_UNFUSED", &unfused),
    )
    .expect("a String takes all");
    text
}

/// A gated delta rule over the first tokens of a head, one at a time.
fn gated(dir: &Path) -> String {
    let head = Head::read(FILE);
    let oracle::Shape { q_heads, kv_heads, head_dim, v_dim, .. } = head.shape;
    let part = Part { tokens: TOKENS, q_heads: 1, dim: DIM };
    let q = first(&head.q, q_heads, head_dim, part);
    let k = first(&head.k, kv_heads, head_dim, part);
    let v = first(&head.v, kv_heads, v_dim, part);
    let gates: Vec<f32> = k.iter().map(|k| -(k * k) / 16.0).take(TOKENS).collect();
    let beta: Vec<f32> = k.iter().map(|k| 1.0 / (1.0 + k * k)).take(TOKENS).collect();
    let problem = Problem {
        d_k: DIM,
        d_v: DIM,
        q: &q,
        k: &k,
        v: &v,
        gate: Gate::Token(&gates),
        rule: Rule::Delta(&beta),
        features: Features::Identity,
        l2: Some(1e-6),
        scale: 1.0 / (DIM as f64).sqrt(),
        state: &vec![0.0; DIM * DIM],
        normaliser: None,
    };
    let of = |fused| {
        let (output, state) = (Format::F32, Format::F32);
        certify(&problem, Arithmetic { fused, chunk: 1, output, state })
    };
    let (fused, unfused) = (of(true), of(false));
    let limits = |bound: &[f64]| -> Vec<f32> { bound.iter().map(|x| round_up(*x)).collect() };
    let exact = numbers(dir, "device.GATED_EXACT", &fused.o);
    let mut text = format!(
        "pub(crate) static GATED_EXACT: &[f64] = {exact};\n\
         pub(crate) const GATED: [usize; 2] = [{TOKENS}, {DIM}];\n"
    );
    let (fused, unfused) = (limits(&fused.o_bound), limits(&unfused.o_bound));
    for (name, all) in [
        ("GATED_Q", &q),
        ("GATED_K", &k),
        ("GATED_V", &v),
        ("GATED_GATES", &gates),
        ("GATED_BETA", &beta),
        ("GATED_FUSED", &fused),
        ("GATED_UNFUSED", &unfused),
    ] {
        text += &constant(dir, name, all);
    }
    text
}

/// The same stream in codes of 8 bits with one step for all queries, one for keys and one for values; heads that have turned. The ring is
/// read from its oldest token on, in two runs.
fn integer(dir: &Path) -> String {
    let head = Head::read(FILE);
    let oracle::Shape { q_heads, kv_heads, head_dim, v_dim, .. } = head.shape;
    let codes = |all: Vec<f32>| -> (Vec<i8>, f32) {
        let step = all.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        (all.iter().map(|x| (x / step).round() as i8).collect(), step)
    };
    let (q, q_step) = codes(stream(narrow(&head.q, q_heads * head_dim, HEADS), HEADS * DIM));
    let (k, k_step) = codes(stream(narrow(&head.k, kv_heads * head_dim, 1), DIM));
    let (v, _) = codes(stream(narrow(&head.v, kv_heads * v_dim, 1), DIM));
    let scale = q_step * k_step / (DIM as f32).sqrt();
    let wide = |all: &[i8]| -> Vec<i32> { all.iter().map(|x| i32::from(*x)).collect() };

    let (mut exact, mut limits) = (vec![], vec![]);
    for token in STREAM - DECODED..STREAM {
        let seen = (token + 1 - WINDOW) * DIM..(token + 1) * DIM;
        let (k, v) = (wide(&k[seen.clone()]), wide(&v[seen]));
        let oldest = (token + 1) % WINDOW;
        let runs = [WINDOW - oldest, oldest];
        let runs = if oldest == 0 { &runs[..1] } else { &runs[..] };
        for q in q[token * HEADS * DIM..][..HEADS * DIM].chunks_exact(DIM) {
            let (q, dims) = (wide(q), [DIM, DIM]);
            let row = FixedRow { codes: Codes::I8, scale, q: &q, k: &k, v: &v, dims, runs };
            let due = row.due();
            exact.extend(due.o);
            limits.extend(due.bound.iter().map(|bound| round_up(*bound)));
        }
    }
    let exact = numbers(dir, "device.CODES_EXACT", &exact);
    let mut text = format!(
        "pub(crate) static CODES_EXACT: &[f64] = {exact};\npub(crate) const CODES_SCALE: f32 = {scale:?};\n"
    );
    for (name, all) in [("CODES_Q", &q), ("CODES_K", &k), ("CODES_V", &v)] {
        text += &constant(dir, name, all);
    }
    text + &constant(dir, "CODES_LIMITS", &limits)
}
