//! Numbers in every format of a cache: within half a step of what they were, or what the format says of those that it cannot
//! hold; and attention over them within the certified bound of what was kept, on every level.

use crate::calls::{Call, Output, Sight, difference};
use crate::dues::dues;
use crate::feedback;
use crate::floats::rows;
use crate::memory::{Kind, Memory, Poisoned, Scaling, Setting, loaded, of_kind, views};
use arbitrary::{Result, Unstructured};
use flashlet::entry::Tiling;
use flashlet::{
    BLOCK, CacheShape, Cached, Error, Heads, KvCache, Level, Precision, Q4_0, Q8_0, Tensor,
};
use oracle::Pair;

#[derive(Debug)]
struct Case {
    setting: Setting,
    heads: Heads,
    q_len: usize,
    kv_len: usize,
    sight: Sight,
    scale: f64,
    precision: Precision,
    data: Data,
}

/// Queries, keys and values.
struct Data {
    q: Vec<f32>,
    tokens: [Vec<f32>; 2],
}

/// Judges one input.
pub fn run(data: &[u8]) {
    if let Ok(case) = Case::decode(&mut Unstructured::new(data)) {
        of_kind!(case.setting.kind, run_as(case));
    }
}

fn run_as<F: Poisoned>(mut case: Case) {
    debug_assert_eq!(F::KIND, case.setting.kind);
    let shape = CacheShape::new(case.heads, case.kv_len.max(1));
    let mut memory = Memory::<F>::new(case.setting, shape);
    let mut cache = memory.straight();
    if !case.append(&mut cache) {
        return;
    }
    let kept = loaded(&cache, 0, case.kv_len, case.heads);
    case.judge_kept(&kept);
    case.judge_attention(&cache, &kept);
}

impl Case {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let setting = Setting::decode(u)?;
        let kv = u.int_in_range(1..=2)?;
        let dims: &[usize] =
            if setting.kind.is_block() { &[32, 64, 96] } else { &[32, 1, 3, 8, 17, 40, 64, 96] };
        let (dim, v_dim) = (*u.choose(dims)?, *u.choose(dims)?);
        let heads = Heads { q: kv * u.int_in_range(1..=4)?, kv, dim, v_dim };
        let q_len = *u.choose(&[1, 1, 2, 3, 5, 9, 17])?;
        let most = *u.choose(&[12, 40, 120])?;
        let kv_len = u.int_in_range(0..=most)?;
        let sight = Sight::decode(u)?;
        let scale = *u.choose(&[1.0 / (dim as f64).sqrt(), 1.0, 16.0, 1e-4, -1.0])?;
        let precisions = [Precision::F32, Precision::Int8Products, Precision::Bf16Products];
        let precision = *u.choose(&precisions)?;
        let spread = u.int_in_range(0..=40)? - 20;
        let q = rows(u, (q_len * heads.q, dim), spread)?;
        let k = rows(u, (kv_len * kv, dim), spread)?;
        let tokens = [k, rows(u, (kv_len * kv, v_dim), spread)?];
        let data = Data { q, tokens };
        Ok(Case { setting, heads, q_len, kv_len, sight, scale, precision, data })
    }

    /// Keeps the tokens. A refused NaN must be there; a number takes its place then. Whether all could be kept.
    fn append<F: Poisoned>(&mut self, cache: &mut KvCache<'_, F>) -> bool {
        for _ in 0..2 {
            let [k, v] =
                views(self.data.tokens.each_ref().map(|x| &x[..]), self.kv_len, self.heads);
            match cache.append(k, v) {
                Ok(()) => return true,
                Err(Error::NotFinite { tensor, at: [0, i, h, c] }) => {
                    let (side, dim) = match tensor {
                        Tensor::K => (0, self.heads.dim),
                        _ => (1, self.heads.v_dim),
                    };
                    let x = self.as_kept(side)[(i * self.heads.kv + h) * dim + c];
                    assert!(x.is_nan() && self.setting.refuses_nan(), "{x} is refused: {self:?}");
                    assert_eq!(cache.len(), 0, "refused, and yet kept: {self:?}");
                }
                Err(error) => panic!("{error}: {self:?}"),
            }
            self.data.tokens.iter_mut().flatten().filter(|x| !x.is_finite()).for_each(|x| *x = 1.0);
        }
        // Finite keys that overflow where they are turned.
        false
    }

    /// Tokens as they are rounded: keys may be turned.
    fn as_kept(&self, side: usize) -> Vec<f32> {
        match side {
            0 => self.setting.turned(&self.data.tokens[0], self.heads.dim),
            _ => self.data.tokens[side].clone(),
        }
    }

    fn judge_kept(&self, kept: &[Vec<f32>; 2]) {
        for (side, dim) in [(0, self.heads.dim), (1, self.heads.v_dim)] {
            let x = self.as_kept(side);
            let (mut worst, mut at) = (0.0, None);
            for (n, (x, kept)) in x.chunks(dim).zip(kept[side].chunks(dim)).enumerate() {
                for (c, due) in dues(&self.setting, n % self.heads.kv, x).into_iter().enumerate() {
                    let ratio = due.ratio(kept[c]);
                    if ratio > worst || ratio.is_nan() {
                        (worst, at) = (ratio, Some((n, c, x[c], kept[c], due)));
                    }
                }
            }
            let place = || format!("side {side}, (row, channel, x, kept, due) = {at:?}\n{self:?}");
            feedback::judged_ratio(worst, x.len(), place);
        }
    }

    fn call(&self, level: Level) -> Call {
        let &Case { heads, q_len, sight, scale, precision, .. } = self;
        Call { heads, q_len, sight, scale, level, precision }
    }

    fn judge_attention(&self, cache: &dyn Cached, [k, v]: &[Vec<f32>; 2]) {
        let turned = self.setting.turned(&self.data.q, self.heads.dim);
        let mut firsts: [Option<Output>; 3] = [const { None }; 3];
        for level in Level::available() {
            let call = self.call(level);
            let found = call.cached(&self.data.q, cache).expect("nothing is gone");
            let is_int8 = self.has_integers() && level.lanes() > 1;
            let is_bf16 = call.multiplies_bf16(self.kv_len);
            if !is_int8 {
                // The bits of the same numbers in tensors.
                let listed = call.listed(&turned, [k, v], self.kv_len);
                self.assert_same(&found, &listed, &call, "tensors");
            }
            let class = if is_bf16 { 2 } else { usize::from(level.is_fused()) };
            // Without vectors nothing is multiplied in integers.
            let is_alone = self.has_integers() && level.lanes() == 1;
            match &firsts[class] {
                Some(first) if !is_alone => self.assert_same(&found, first, &call, "its class"),
                // A score of such a scale is an infinity of either sign where its numbers are NaN.
                _ if is_int8 && self.has_infinite_scales() => {}
                _ if is_int8 => self.judge_integers(&call, &turned, [k, v], &found),
                _ => call.judge([&turned, k, v], self.kv_len, &found, || format!("{self:?}")),
            }
            if !is_alone {
                firsts[class].get_or_insert(found);
            }
        }
    }

    fn assert_same(&self, (o, lse): &Output, other: &Output, call: &Call, what: &str) {
        for (name, a, b) in [("o", o, &other.0), ("lse", lse, &other.1)] {
            let differs = difference(a, b);
            assert_eq!(differs, None, "{name} differs from that of {what}: {call:?}\n{self:?}");
        }
    }

    /// Whether keys are multiplied as integers where there are vectors.
    fn has_integers(&self) -> bool {
        self.precision == Precision::Int8Products
            && self.heads.dim.is_multiple_of(BLOCK)
            && self.scales_rows()
    }

    /// Whether a row is codes times one number, or blocks of 32 are.
    fn scales_rows(&self) -> bool {
        use Scaling::{ByToken, Head, None, Tensor};
        let of_i8 = matches!(self.setting.scaling, None | Tensor | Head | ByToken);
        self.setting.kind.is_block() || self.setting.kind == Kind::I8 && of_i8 && !self.has_zeros()
    }

    fn has_zeros(&self) -> bool {
        matches!(self.setting.scaling, Scaling::Tensor | Scaling::Head)
    }

    fn judge_integers(&self, call: &Call, q: &[f32], [k, v]: [&[f32]; 2], (o, _): &Output) {
        let Heads { q: q_heads, kv, dim, .. } = self.heads;
        let channels = if self.setting.kind.is_block() { BLOCK } else { dim };
        let q = self.rounded_queries(q, channels);
        let visible = |Pair { i, j, .. }: Pair| self.sight.sees((i, self.q_len), j, self.kv_len);
        let problem = call.problem(self.kv_len, &visible, [&q, k, v]);
        let problem = oracle::Problem { scale: std::f64::consts::LN_2, ..problem };
        // Weights of many queries are not rounded: as if scales were 0.
        let is_few = Tiling::is_few(Level::Avx512, self.q_len * q_heads / kv);
        let rounds = is_few && self.heads.v_dim.is_multiple_of(BLOCK);
        let mut scales = self.value_scales();
        if !rounds {
            scales.fill(0.0);
        }
        let most = if self.setting.kind == Kind::Q4_0 { 127.0 } else { 255.0 };
        let rows = (0..self.q_len).flat_map(|i| (0..q_heads).map(move |h| (0, i, h)));
        let arithmetic = call.arithmetic();
        let verdict = oracle::certify_integers(&problem, &arithmetic, (&scales, most), rows, o);
        feedback::judged(&verdict, || format!("{call:?}\n{self:?}"));
    }

    /// Queries as integers times scales, which cannot hold what is not finite.
    fn rounded_queries(&self, q: &[f32], channels: usize) -> Vec<f32> {
        let mut rounded = oracle::rounded_queries(q, self.heads.dim, channels, self.scale);
        let factor = (self.scale * std::f64::consts::LOG2_E) as f32;
        for (x, rounded) in q.chunks(channels).zip(rounded.chunks_mut(channels)) {
            if x.iter().any(|x| !(x * factor).is_finite()) {
                rounded.fill(f32::NAN);
            }
        }
        rounded
    }

    /// Whether a block's scale was beyond f16: finite numbers of which infinities and NaN are kept.
    fn has_infinite_scales(&self) -> bool {
        let is_infinite = |x: &[f32]| match self.setting.kind {
            Kind::Q8_0 => Q8_0::encode(x).scale.is_infinite(),
            Kind::Q4_0 => Q4_0::encode(x).scale.is_infinite(),
            _ => false,
        };
        [0, 1].iter().any(|side| self.as_kept(*side).chunks(BLOCK).any(is_infinite))
    }

    /// Magnitudes of the scales of values: one a row, or one of 32 channels.
    fn value_scales(&self) -> Vec<f32> {
        let (Heads { v_dim, .. }, v) = (self.heads, &self.data.tokens[1]);
        let by_token = |x: &[f32]| x.iter().fold(0.0_f32, |most, x| x.abs().max(most)) / 127.0;
        match (self.setting.kind, self.setting.scaling) {
            (Kind::Q8_0, _) => v.chunks(BLOCK).map(|x| Q8_0::encode(x).scale.to_f32()).collect(),
            (Kind::Q4_0, _) => {
                v.chunks(BLOCK).map(|x| Q4_0::encode(x).scale.to_f32().abs()).collect()
            }
            (_, Scaling::ByToken) => v.chunks(v_dim).map(by_token).collect(),
            _ => vec![1.0; v.len() / v_dim],
        }
    }
}

/// The input that a replay needs is the file.
impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [k, v] = self.tokens.each_ref().map(Vec::len);
        write!(f, "{} + {k} + {v} numbers", self.q.len())
    }
}
