//! The golden numbers of `tests/golden/rope.json`, which `tests/golden/rope.py` writes: frequencies by mpmath with 60 digits,
//! and the bits of Hugging Face's transformers on PyTorch.

use flashlet::{Llama3, LongRope, Scaling, Theta, Yarn};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) turns: Vec<Frequencies>,
    pub(crate) hugging_face: Vec<HuggingFace>,
    pub(crate) table: Vec<Angle>,
    pub(crate) sinusoidal: Vec<Sinusoid>,
}

/// Exact frequencies.
#[derive(Deserialize)]
pub(crate) struct Frequencies {
    pub(crate) name: String,
    pub(crate) theta_base: f64,
    pub(crate) rot_dim: usize,
    pub(crate) scaling: Rule,
    pub(crate) amplitude: String,
    pub(crate) softmax_factor: Option<String>,
    pub(crate) turns: Vec<String>,
}

/// What transformers computes for the configuration of the same name.
#[derive(Deserialize)]
pub(crate) struct HuggingFace {
    pub(crate) name: String,
    pub(crate) seq_len_is_tensor: bool,
    pub(crate) seq_len: Option<u32>,
    pub(crate) attention_factor: String,
    pub(crate) inv_freq: Vec<String>,
    #[serde(default)]
    pub(crate) tables: Vec<TorchTable>,
}

/// Cosines and sines of all pairs, as PyTorch computes them.
#[derive(Deserialize)]
pub(crate) struct TorchTable {
    pub(crate) position: u32,
    pub(crate) cos: Vec<String>,
    pub(crate) sin: Vec<String>,
}

/// One exact angle.
#[derive(Deserialize)]
pub(crate) struct Angle {
    pub(crate) theta_base: f64,
    pub(crate) rot_dim: usize,
    pub(crate) t: usize,
    pub(crate) position: i64,
    pub(crate) cos: String,
    pub(crate) sin: String,
}

/// One exact sinusoid.
#[derive(Deserialize)]
pub(crate) struct Sinusoid {
    pub(crate) spacing: String,
    pub(crate) d: usize,
    pub(crate) i: usize,
    pub(crate) position: u32,
    pub(crate) sin: String,
    pub(crate) cos: String,
}

/// A scaling as the file says it: flat, by kind.
#[derive(Deserialize)]
pub(crate) struct Rule {
    kind: String,
    #[serde(default)]
    factor: f64,
    original_len: Option<u32>,
    trained_len: Option<u32>,
    length: Option<u32>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    #[serde(default)]
    short_factors: Vec<f64>,
    #[serde(default)]
    long_factors: Vec<f64>,
}

impl Golden {
    pub(crate) fn read() -> Golden {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rope.json");
        serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).unwrap()
    }

    pub(crate) fn frequencies(&self, name: &str) -> &Frequencies {
        self.turns.iter().find(|one| one.name == name).expect("both lists have the same names")
    }
}

impl Frequencies {
    pub(crate) fn theta(&self) -> Theta<'_> {
        Theta::new(self.theta_base).scaled(self.scaling.scaling())
    }
}

impl Rule {
    pub(crate) fn scaling(&self) -> Scaling<'_> {
        let (factor, original_len) = (self.factor, self.original_len.unwrap_or(0));
        match self.kind.as_str() {
            "none" => Scaling::None,
            "linear" => Scaling::Linear { factor },
            "ntk" => Scaling::Ntk { factor },
            "dynamic_ntk" => {
                let [original_len, len] = [self.trained_len, self.length].map(Option::unwrap);
                Scaling::DynamicNtk { factor, original_len, len }
            }
            "yarn" => Scaling::Yarn(Yarn {
                beta_fast: self.beta_fast.unwrap(),
                beta_slow: self.beta_slow.unwrap(),
                truncate: self.truncate.unwrap(),
                attention_factor: self.attention_factor,
                mscale: self.mscale,
                mscale_all_dim: self.mscale_all_dim,
                ..Yarn::new(factor, original_len)
            }),
            "llama3" => Scaling::Llama3(Llama3 {
                factor,
                low_freq_factor: self.low.unwrap(),
                high_freq_factor: self.high.unwrap(),
                original_len,
            }),
            "longrope" => Scaling::LongRope(LongRope {
                short_factor: &self.short_factors,
                long_factor: &self.long_factors,
                factor,
                original_len,
                len: self.length.unwrap(),
                attention_factor: self.attention_factor,
            }),
            kind => panic!("no such scaling: {kind}"),
        }
    }
}
