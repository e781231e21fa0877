//! What may be done to caches, step by step: one block, a ring and shared blocks keep what a plain list of their tokens
//! keeps, attention over them has the bits of a new cache of that list, and what is refused changes nothing.

use crate::calls::{Call, Sight};
use crate::floats::rows;
use crate::machine::Machine;
use crate::memory::{Memory, Poisoned, Setting, of_kind};
use arbitrary::{Arbitrary, Result, Unstructured};
use flashlet::{CacheShape, Heads, Level, Precision};

/// How large caches are, and what is done to them.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) setting: Setting,
    pub(crate) heads: Heads,
    /// Tokens of one block.
    pub(crate) capacity: usize,
    /// Tokens of the ring, and those of them that stay.
    pub(crate) ring: [usize; 2],
    /// How many shared blocks there are, and tokens of each.
    pub(crate) blocks: [usize; 2],
    steps: Vec<Step>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append(New),
    Truncate(usize),
    Attend(Call, Rows),
    /// Another sequence of the same tokens, its blocks counted by the cache or dealt out by somebody else.
    Fork {
        adopts: bool,
    },
    /// Going on with another one.
    Switch(usize),
    /// What a window has left behind, but for some sinks.
    Evict {
        sinks: usize,
        window: usize,
    },
    Clear,
    /// What must be refused.
    Refused,
}

/// Numbers, of which no one wants to read thousands.
#[derive(Clone)]
pub(crate) struct Rows(pub(crate) Vec<f32>);

/// New tokens: keys and values.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) n: usize,
    pub(crate) rows: [Rows; 2],
}

/// Sequences at most.
pub(crate) const SEQUENCES: usize = 4;

/// Judges one input.
pub fn run(data: &[u8]) {
    if let Ok(case) = Case::decode(&mut Unstructured::new(data)) {
        of_kind!(case.setting.kind, run_as(&case));
    }
}

fn run_as<F: Poisoned>(case: &Case) {
    let &Case { setting, heads, capacity, ring: [room, _], blocks: [blocks, block_len], .. } = case;
    let memory = |shape: CacheShape| Memory::<F>::new(setting, shape);
    let mut straight = memory(CacheShape::new(heads, capacity));
    let mut ring = memory(CacheShape::new(heads, room));
    let mut paged = memory(CacheShape::paged(heads, blocks, block_len));
    let (mut counts, mut tables) = (vec![9; blocks], vec![vec![12345; blocks]; SEQUENCES]);
    let memories = (&mut straight, &mut ring, paged.paged(&mut counts));
    let mut machine = Machine::new(case, memories, tables.iter_mut().map(Vec::as_mut_slice));
    for step in &case.steps {
        machine.step(step);
        machine.check();
    }
}

impl Case {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let setting = Setting::decode(u)?;
        let kv = u.int_in_range(1..=2)?;
        let dims: &[usize] = if setting.kind.is_block() { &[32, 64] } else { &[32, 8, 5, 64] };
        let (dim, v_dim) = (*u.choose(dims)?, *u.choose(dims)?);
        let heads = Heads { q: kv * u.int_in_range(1..=3)?, kv, dim, v_dim };
        let room = u.int_in_range(1..=40)?;
        let ring = [room, u.int_in_range(0..=5.min(room - 1))?];
        let blocks = [u.int_in_range(1..=24)?, u.int_in_range(1..=12)?];
        let capacity = u.int_in_range(1..=110)?;
        let steps = u.int_in_range(1..=16)?;
        let steps = (0..steps).map(|_| Step::decode(u, heads)).collect::<Result<_>>()?;
        Ok(Case { setting, heads, capacity, ring, blocks, steps })
    }
}

impl Step {
    fn decode(u: &mut Unstructured<'_>, heads: Heads) -> Result<Self> {
        Ok(match u8::arbitrary(u)? % 20 {
            0..=6 => Step::Append(New::decode(u, heads)?),
            7 | 8 => Step::Truncate(u.int_in_range(0..=9)?),
            9..=13 => Step::attend(u, heads)?,
            14 => Step::Fork { adopts: u.arbitrary()? },
            15 | 16 => Step::Switch(u.int_in_range(0..=SEQUENCES - 1)?),
            17 => Step::Evict { sinks: u.int_in_range(0..=5)?, window: u.int_in_range(1..=30)? },
            18 => Step::Refused,
            _ => Step::Clear,
        })
    }

    fn attend(u: &mut Unstructured<'_>, heads: Heads) -> Result<Self> {
        let levels: Vec<Level> = Level::available().collect();
        let precisions = [Precision::F32, Precision::Int8Products, Precision::Bf16Products];
        let call = Call {
            heads,
            q_len: u.int_in_range(1..=6)?,
            sight: Sight::decode(u)?,
            scale: *u.choose(&[1.0 / (heads.dim as f64).sqrt(), 1.0])?,
            level: *u.choose(&levels)?,
            precision: *u.choose(&precisions)?,
        };
        // As many queries as all sequences may have.
        let count = SEQUENCES * call.q_len * heads.q;
        Ok(Step::Attend(call, Rows(rows(u, (count, heads.dim), 4)?)))
    }
}

impl New {
    fn decode(u: &mut Unstructured<'_>, heads: Heads) -> Result<Self> {
        let n = u.int_in_range(0..=22)?;
        let mut side = |dim| Ok(Rows(rows(u, (n * heads.kv, dim), 4)?));
        Ok(New { n, rows: [side(heads.dim)?, side(heads.v_dim)?] })
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.0.len())
    }
}
