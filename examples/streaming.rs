//! An endless stream of tokens in constant memory: gated delta attention, a token at a time.
//!
//! ```text
//! g = -exp(A_log) softplus(a + dt_bias)      beta = sigmoid(b)          from what a model projects
//! S := exp(g) S        S += beta k (v - S^T k)^T        o = q^T S / 8
//! ```
//! (Yang et al., Gated Delta Networks, arXiv 2412.06464; Qwen3-Next.) What is kept of all tokens is one state of 64 x 64
//! numbers. Every so often the f64 oracle starts from the kernel's own state, follows it for a while, and the kernel must
//! stay within the certified bound: `cargo run --release --example streaming -- --tokens 10000000`.

use clap::Parser;
use flashlet::{
    CHUNK, Error, Family, Form, GatedDelta, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Memory, Snapshots, View, ViewMut,
};
use oracle::Format;
use oracle::linear::{Arithmetic, Features, Gate, Problem, Rule, certify};
use std::process::ExitCode;
use std::time::Instant;

const DIM: usize = 64;
const HEADS: LinearHeads = LinearHeads::new(1, DIM);
const TOKEN: LinearShape = LinearShape { batch: 1, len: 1, heads: HEADS };
const STATE: usize = match Memory::len(&TOKEN) {
    Ok(len) => len,
    Err(_) => panic!("a head of 64 channels has a state"),
};
/// More than a step of such a head needs, which [`LinearAttention::bind`] checks.
const SCRATCH: usize = 1024;
/// Tokens that can be taken back.
const HELD: usize = 4;
/// Tokens that the oracle follows at a time.
const FOLLOWED: usize = 64;

/// Gated delta attention over an endless stream of tokens.
#[derive(Parser)]
struct Cli {
    /// How many tokens of it.
    #[arg(long, default_value_t = 1_000_000)]
    tokens: u64,
}

/// What a model projects from a token.
#[derive(Clone, Copy)]
struct Token {
    q: [f32; DIM],
    k: [f32; DIM],
    v: [f32; DIM],
    a: [f32; 1],
    b: [f32; 1],
}

impl Token {
    fn random(random: &mut fastrand::Rng) -> Self {
        let mut number = || 2.0 * random.f32() - 1.0;
        let mut row = || std::array::from_fn(|_| number());
        let (q, k, v) = (row(), row(), row());
        Token { q, k, v, a: [number()], b: [number()] }
    }
}

/// All that a stream keeps: so many bytes after any number of tokens.
struct Stream {
    state: [f32; STATE],
    scratch: [f32; SCRATCH],
}

impl Stream {
    /// Learns a token, and what it reads then. Also its gate and beta, which the oracle needs.
    fn step(&mut self, token: &Token) -> Result<([f32; DIM], f32, f32), Error> {
        let (mut gate, mut beta, one) = ([0.0], [0.0], TOKEN.per_state(1));
        let model = GatedDelta::new(&[0.0], &[-3.0])?;
        model.prepare(
            View::packed(&token.a, one)?,
            View::packed(&token.b, one)?,
            &mut ViewMut::packed(&mut gate, one)?,
            &mut ViewMut::packed(&mut beta, one)?,
        )?;
        let plan = LinearAttention::new(TOKEN, Family::GATED_DELTA_NET)?.l2_normalised(1e-6)?;
        let inputs = LinearInputs::new(
            View::packed(&token.q, TOKEN.q())?,
            View::packed(&token.k, TOKEN.k())?,
            View::packed(&token.v, TOKEN.v())?,
        )
        .gates(View::packed(&gate, one)?)
        .beta(View::packed(&beta, one)?);
        let mut o = [f32::NAN; DIM];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, TOKEN.o())?);
        let memory = Memory::new(&mut self.state, &TOKEN)?;
        plan.bind(inputs, outputs, memory, &mut self.scratch)?.run();
        Ok((o, gate[0], beta[0]))
    }

    /// Learns some tokens, while the oracle does the same from the same state. The largest share of its bound that an error
    /// takes.
    fn followed(&mut self, tokens: &[Token]) -> Result<f64, Error> {
        let before = self.state;
        let (mut found, mut gates, mut betas) = (Vec::new(), Vec::new(), Vec::new());
        for token in tokens {
            let (o, gate, beta) = self.step(token)?;
            found.extend(o);
            gates.push(gate);
            betas.push(beta);
        }
        let all = |row: fn(&Token) -> &[f32; DIM]| tokens.iter().flat_map(row).copied().collect();
        let (q, k, v): (Vec<_>, Vec<_>, Vec<_>) = (all(|t| &t.q), all(|t| &t.k), all(|t| &t.v));
        let problem = Problem {
            d_k: DIM,
            d_v: DIM,
            q: &q,
            k: &k,
            v: &v,
            gate: Gate::Token(&gates),
            rule: Rule::Delta(&betas),
            features: Features::Identity,
            l2: Some(1e-6),
            scale: 1.0 / (DIM as f64).sqrt(),
            state: &before,
            normaliser: None,
        };
        let fused = flashlet::Level::detect().is_fused();
        let (output, state) = (Format::F32, Format::F32);
        let exact = certify(&problem, Arithmetic { fused, chunk: 1, output, state });
        Ok(largest_share(&found, &exact.o, &exact.o_bound))
    }
}

/// The largest share of its bound that an error takes: infinite where a number is NaN, or nothing is certified.
fn largest_share(found: &[f32], exact: &[f64], bounds: &[f64]) -> f64 {
    let shares = found.iter().zip(exact.iter().zip(bounds)).map(|(o, (exact, bound))| {
        let share = (f64::from(*o) - exact).abs() / bound;
        if bound.is_finite() && !share.is_nan() { share } else { f64::INFINITY }
    });
    shares.fold(0.0, f64::max)
}

/// A few drafted tokens, of which all but the first turn out to be wrong and are taken back.
fn speculate(stream: &mut Stream, random: &mut fastrand::Rng) -> Result<(), Error> {
    let mut storage = [0.0; HELD * STATE];
    let mut snapshots = Snapshots::new(&mut storage, STATE)?;
    let mut after_first = [0.0; STATE];
    for draft in 0..HELD {
        snapshots.push(&stream.state)?;
        stream.step(&Token::random(random))?;
        if draft == 0 {
            after_first = stream.state;
        }
    }
    // The first draft was right, the others were not.
    snapshots.restore(HELD - 1, &mut stream.state)?;
    assert_eq!(stream.state, after_first);
    Ok(())
}

/// The most that any share of the bound was; fails if a number is not finite.
fn run(tokens: u64, every: u64) -> Result<f64, Error> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut stream = Stream { state: [0.0; STATE], scratch: [0.0; SCRATCH] };
    let bytes = size_of_val(&stream);
    let (start, mut most, mut done) = (Instant::now(), 0.0_f64, 0);
    while done < tokens {
        let followed: Vec<_> = (0..FOLLOWED).map(|_| Token::random(&mut random)).collect();
        most = most.max(stream.followed(&followed)?);
        speculate(&mut stream, &mut random)?;
        done += FOLLOWED as u64;
        // One of a few tokens again and again: the stream costs no random numbers.
        for n in 0..every.min(tokens.saturating_sub(done)) {
            stream.step(&followed[n as usize % FOLLOWED])?;
            done += 1;
        }
        let largest = stream.state.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let rate = done as f64 / start.elapsed().as_secs_f64();
        println!(
            "{done:>12} tokens  {bytes} B kept  {rate:>9.0} tokens/s  largest state {largest:.3}  \
             error {most:.3} of its bound"
        );
        assert!(stream.state.iter().all(|x| x.is_finite()), "a stream stays finite");
    }
    Ok(most)
}

fn main() -> Result<ExitCode, Error> {
    let cli = Cli::parse();
    let prompt =
        LinearAttention::new(LinearShape { len: CHUNK, ..TOKEN }, Family::GATED_DELTA_NET)?;
    println!(
        "a step: {} B of scratch; {CHUNK} tokens at once: {} B",
        4 * prompt.form(Form::Recurrent).scratch_len(),
        4 * prompt.form(Form::Chunked).scratch_len(),
    );
    let most = run(cli.tokens, (cli.tokens / 10).max(1))?;
    Ok(if most <= 1.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[test]
fn a_short_stream_stays_within_its_bound() {
    let most = run(5000, 1000).expect("shapes agree");
    assert!(most > 0.0 && most <= 1.0, "{most}");
}

#[test]
fn what_is_not_certified_is_not_within_its_bound() {
    assert_eq!(largest_share(&[1.0, 2.0], &[1.0, 1.5], &[1.0, 1.0]), 0.5);
    assert_eq!(largest_share(&[f32::NAN, 2.0], &[1.0, 2.0], &[1.0, 1.0]), f64::INFINITY);
    assert_eq!(largest_share(&[1.0, 2.0], &[1.0, 2.0], &[f64::INFINITY, 1.0]), f64::INFINITY);
}
