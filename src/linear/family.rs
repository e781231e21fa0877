//! Families of linear attention: how a state forgets, and how it learns.
//!
//! Every one of them is a gate and a rule, and any gate goes with any rule:
//!
//! | | [`Rule::Add`] | [`Rule::Bonus`] | [`Rule::Delta`] | [`Rule::LowRank`] |
//! |---|---|---|---|---|
//! | [`Gate::Never`] | linear | | DeltaNet | |
//! | [`Gate::Head`] | RetNet, Lightning | | | |
//! | [`Gate::Token`] | simple GLA, Mamba-2 | | Gated DeltaNet | |
//! | [`Gate::Channel`] | GLA, HGRN-2 | RWKV-6 | KDA | RWKV-7 |

/// How a state forgets before it learns a token: `S := diag(a) S` with `a = exp(g)`. Gates `g` are natural logarithms, so
/// that products of many stay exact; 0 keeps all, -inf forgets all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// It does not.
    Never,
    /// One gate a head, the same for all tokens.
    Head,
    /// One gate a head and token.
    Token,
    /// One gate a head, token and key channel.
    Channel,
}

/// How a state learns a token, and when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `S += k v^T`, then `o = scale q^T S`.
    Add,
    /// `o = scale q^T (S + diag(u) k v^T)` with the state before the token, then as [`Rule::Add`].
    Bonus,
    /// `S += beta k (v - S^T k)^T`: only what the state does not know yet, after it has forgotten.
    Delta,
    /// `S += b (S_before^T a)^T + k v^T`, where `S_before` has not forgotten yet.
    LowRank,
}

/// A gate and a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Family {
    /// How it forgets.
    pub gate: Gate,
    /// How it learns.
    pub rule: Rule,
}

impl Family {
    /// Linear attention without decay (arXiv 2006.16236), Performers.
    pub const LINEAR: Family = family(Gate::Never, Rule::Add);
    /// RetNet (arXiv 2307.08621): [`retention_decay`](crate::retention_decay).
    pub const RETNET: Family = family(Gate::Head, Rule::Add);
    /// Lightning attention (arXiv 2401.04658), MiniMax: slopes are data.
    pub const LIGHTNING: Family = Family::RETNET;
    /// Gated linear attention with one gate a head and token.
    pub const SIMPLE_GLA: Family = family(Gate::Token, Rule::Add);
    /// The state space dual form of Mamba-2 (arXiv 2405.21060): q = C, k = B, v = dt x, g = dt A, scale = 1.
    pub const MAMBA2: Family = Family::SIMPLE_GLA;
    /// Gated linear attention (arXiv 2312.06635).
    pub const GLA: Family = family(Gate::Channel, Rule::Add);
    /// HGRN-2 (arXiv 2404.07904): k = 1 - exp(g).
    pub const HGRN2: Family = Family::GLA;
    /// RWKV-6 (arXiv 2404.05892).
    pub const RWKV6: Family = family(Gate::Channel, Rule::Bonus);
    /// RWKV-7 (arXiv 2503.14456).
    pub const RWKV7: Family = family(Gate::Channel, Rule::LowRank);
    /// DeltaNet (arXiv 2406.06484).
    pub const DELTA_NET: Family = family(Gate::Never, Rule::Delta);
    /// Gated DeltaNet (arXiv 2412.06464), Qwen3-Next.
    pub const GATED_DELTA_NET: Family = family(Gate::Token, Rule::Delta);
    /// Kimi delta attention (arXiv 2510.26692).
    pub const KDA: Family = family(Gate::Channel, Rule::Delta);
}

const fn family(gate: Gate, rule: Rule) -> Family {
    Family { gate, rule }
}

impl Rule {
    /// Whether what is learnt depends on what the state holds.
    pub(crate) const fn looks(self) -> bool {
        matches!(self, Rule::Delta | Rule::LowRank)
    }

    /// Whether a token is read before it is learnt.
    pub(crate) const fn reads_before(self) -> bool {
        matches!(self, Rule::Bonus)
    }

    /// Whether the state is looked at before it forgets.
    pub(crate) const fn looks_before(self) -> bool {
        matches!(self, Rule::LowRank)
    }

    /// Outer products that a token adds to the state.
    pub(crate) const fn writes(self) -> usize {
        if matches!(self, Rule::LowRank) { 2 } else { 1 }
    }
}

/// A [`Family`] that may be known when compiling.
pub trait Known: Copy {
    /// It, given what the plan says.
    fn of(family: Family) -> Self;
    /// It. [`Gate::Head`] is [`Gate::Token`] to a kernel.
    fn family(self) -> Family;
}

impl Known for Family {
    #[inline(always)]
    fn of(family: Family) -> Self {
        family
    }
    #[inline(always)]
    fn family(self) -> Family {
        self
    }
}

/// A family known when compiling, by a gate's and a rule's number in their enums: [`class`].
#[derive(Clone, Copy, Debug)]
pub struct Class<const GATE: u8, const RULE: u8>;

impl<const GATE: u8, const RULE: u8> Known for Class<GATE, RULE> {
    #[inline(always)]
    fn of(family: Family) -> Self {
        debug_assert_eq!(class(family), [GATE, RULE], "dispatch chooses an entry by its class");
        Class
    }
    #[inline(always)]
    fn family(self) -> Family {
        const { of_class([GATE, RULE]) }
    }
}

/// What families share that need the same code.
#[must_use]
pub const fn class(family: Family) -> [u8; 2] {
    let gate = match family.gate {
        Gate::Never => 0,
        Gate::Head | Gate::Token => 1,
        Gate::Channel => 2,
    };
    let rule = match family.rule {
        Rule::Add => 0,
        Rule::Bonus => 1,
        Rule::Delta => 2,
        Rule::LowRank => 3,
    };
    [gate, rule]
}

const fn of_class([gate, rule]: [u8; 2]) -> Family {
    let gate = match gate {
        0 => Gate::Never,
        1 => Gate::Token,
        _ => Gate::Channel,
    };
    let rule = match rule {
        0 => Rule::Add,
        1 => Rule::Bonus,
        2 => Rule::Delta,
        _ => Rule::LowRank,
    };
    family(gate, rule)
}
