//! What errors call things.

use core::fmt;

/// Names the tensor that an [`Error`](crate::Error) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tensor {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Output.
    O,
    /// Log-sum-exp.
    Lse,
    /// A partial state.
    State,
    /// Logits of sinks, one a query head.
    Sinks,
    /// Slopes of linear biases, one a query head.
    Slopes,
    /// Biases of scores.
    Bias,
    /// Weights of a row, one a key.
    Weights,
    /// Keys by distance.
    RelativeKeys,
    /// Values by distance.
    RelativeValues,
    /// What heads are turned onto.
    Turned,
    /// A table of learned positions.
    Learned,
    /// Embeddings of tokens.
    Embeddings,
    /// Gates by head.
    Decay,
    /// Gates by token.
    Gates,
    /// How much of a correction is learnt.
    Beta,
    /// The bonus of a token that is read before it is learnt.
    Bonus,
    /// What a low rank looks for.
    LowRankA,
    /// Where it writes what it finds.
    LowRankB,
    /// The sums that normalise.
    Normaliser,
    /// Condition numbers.
    Condition,
    /// What betas are computed from.
    RawBeta,
    /// What gates are computed from.
    Steps,
    /// What is added to that.
    StepBias,
    /// Least gates of channels.
    LowerBounds,
    /// What values are computed from.
    X,
    /// `D`: how much of `x` is added to outputs.
    Skip,
    /// Gates of outputs.
    Z,
    /// What codes of a cache are multiplied by.
    Scales,
    /// The newest tokens of a cache whose scales are of groups.
    Newest,
    /// Their zero points.
    Zeros,
    /// How many sequences have each block of a cache.
    Counts,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tensor::Q => "q",
            Tensor::K => "k",
            Tensor::V => "v",
            Tensor::O => "o",
            Tensor::Lse => "lse",
            Tensor::State => "state",
            Tensor::Sinks => "sinks",
            Tensor::Slopes => "slopes",
            Tensor::Bias => "bias",
            Tensor::Weights => "weights",
            Tensor::RelativeKeys => "relative keys",
            Tensor::RelativeValues => "relative values",
            Tensor::Turned => "what heads are turned onto",
            Tensor::Learned => "the table of learned positions",
            Tensor::Embeddings => "the embeddings",
            Tensor::Decay => "the gates by head",
            Tensor::Gates => "the gates",
            Tensor::Beta => "beta",
            Tensor::Bonus => "the bonus u",
            Tensor::LowRankA => "a of the low rank",
            Tensor::LowRankB => "b of the low rank",
            Tensor::Normaliser => "the normaliser",
            Tensor::Condition => "the condition numbers",
            Tensor::RawBeta => "what betas are computed from",
            Tensor::Steps => "what gates are computed from",
            Tensor::StepBias => "dt_bias",
            Tensor::LowerBounds => "the lower bounds",
            Tensor::X => "x",
            Tensor::Skip => "D",
            Tensor::Z => "z",
            Tensor::Scales => "the scales of the cache",
            Tensor::Newest => "the room for the newest tokens of the cache",
            Tensor::Zeros => "the zero points of the cache",
            Tensor::Counts => "the counts of blocks",
        })
    }
}

/// Names the list of a pattern that an [`Error`](crate::Error) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum List {
    /// Positions of global tokens.
    Globals,
    /// Where documents end among the queries.
    QueryEnds,
    /// Where documents end among the keys.
    KeyEnds,
    /// Where block rows end among the columns.
    BlockRows,
    /// Query heads that have block rows of their own.
    BlockHeads,
    /// Block columns.
    BlockColumns,
    /// Random blocks.
    RandomBlocks,
    /// Queries of a table.
    TableQueries,
    /// Keys of a table.
    TableKeys,
    /// Cells of a table.
    TableCells,
    /// Chunks.
    Chunks,
    /// Dilation.
    Dilation,
    /// Positions of tokens.
    Positions,
    /// Positions of the first token of each sequence.
    Starts,
    /// Places in a cache of the first token of each sequence.
    Slots,
    /// Axes of pairs.
    PairAxes,
    /// Sections of pairs.
    Sections,
    /// Divisors of frequencies.
    PairFactors,
    /// Blocks of a cache.
    Blocks,
    /// Blocks of a sequence in a cache.
    BlockTable,
    /// Tokens of a cache that share scales.
    Groups,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            List::Globals => "the list of global tokens",
            List::QueryEnds => "the list of documents' ends among queries",
            List::KeyEnds => "the list of documents' ends among keys",
            List::BlockRows => "the list of block rows",
            List::BlockHeads => "the list of heads with block rows",
            List::BlockColumns => "the list of block columns",
            List::RandomBlocks => "the list of random blocks",
            List::TableQueries => "a table's column of queries",
            List::TableKeys => "a table's row of keys",
            List::TableCells => "a table",
            List::Chunks => "a chunk",
            List::Dilation => "a dilation",
            List::Positions => "the list of positions",
            List::Starts => "the list of first positions",
            List::Slots => "the list of places in the cache",
            List::PairAxes => "the list of the pairs' axes",
            List::Sections => "the list of sections",
            List::PairFactors => "the list of the pairs' factors",
            List::Blocks => "the blocks of a cache",
            List::BlockTable => "a block table",
            List::Groups => "the groups of a cache",
        })
    }
}

/// Names the parameter of rotary frequencies or of gates that an [`Error`](crate::Error) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Knob {
    /// The base of the frequencies.
    ThetaBase,
    /// How much longer contexts become.
    Factor,
    /// Tokens that a model was trained for.
    OriginalLen,
    /// Turns of the pairs that stay.
    BetaFast,
    /// Turns of the pairs that are slowed down.
    BetaSlow,
    /// Turns below which a wave is slow.
    LowFreqFactor,
    /// Turns above which a wave is fast.
    HighFreqFactor,
    /// What cos and sin are multiplied by.
    AttentionFactor,
    /// DeepSeek's factors of the logarithm.
    Mscale,
    /// The divisor of one pair.
    PairFactor,
    /// The least step.
    LeastStep,
    /// The most.
    MostStep,
    /// The lower bound of gates.
    LowerBound,
    /// What gates are divided by.
    Normaliser,
    /// The least gate.
    LeastGate,
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Knob::ThetaBase => "theta_base",
            Knob::Factor => "factor",
            Knob::OriginalLen => "original_len",
            Knob::BetaFast => "beta_fast",
            Knob::BetaSlow => "beta_slow",
            Knob::LowFreqFactor => "low_freq_factor",
            Knob::HighFreqFactor => "high_freq_factor",
            Knob::AttentionFactor => "attention_factor",
            Knob::Mscale => "mscale",
            Knob::PairFactor => "the factor of a pair",
            Knob::LeastStep => "the least step",
            Knob::MostStep => "the most of a step",
            Knob::LowerBound => "the lower bound of gates",
            Knob::Normaliser => "the normaliser of gates",
            Knob::LeastGate => "the least gate",
        })
    }
}
