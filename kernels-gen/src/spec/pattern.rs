//! What a band around the diagonal cannot say of a model's mask: the parts of a pattern.

use std::fmt;

/// What a mask leaves out of a band, and what it adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecPattern {
    /// Of the keys before and after a query only every so-manieth.
    pub dilation: Option<usize>,
    /// Only keys of the query's own chunk of so many tokens.
    pub chunk: Option<usize>,
    /// First tokens that every query sees.
    pub prefix: usize,
    /// Tokens that see all and are seen by all.
    pub globals: Vec<u32>,
}

impl SpecPattern {
    /// Whether there is nothing beside the band.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == SpecPattern::default()
    }

    /// Whether a query may see what the band does not say.
    #[must_use]
    pub fn adds(&self) -> bool {
        self.prefix > 0 || !self.globals.is_empty()
    }

    /// What makes the pattern, step by step, each of which may fail; the first of them from the steps of a band, if it
    /// adds to that.
    #[must_use]
    pub fn steps(&self, band: Vec<String>) -> Vec<String> {
        let mut steps = if self.adds() { band } else { Vec::new() };
        let limits = [
            self.dilation.map(|step| format!("Dilation::new({step})?")),
            self.chunk.map(|size| format!("Chunks::new({size})?")),
        ];
        for limit in limits.into_iter().flatten() {
            let is_first = steps.is_empty();
            steps.push(if is_first { limit } else { format!("pattern.and({limit})") });
        }
        if self.prefix > 0 {
            steps.push(format!("pattern.or(Prefix({}))", self.prefix));
        }
        if !self.globals.is_empty() {
            steps.push("pattern.or(Globals::new(&GLOBALS)?)".to_owned());
        }
        steps
    }

    /// The names of flashlet that the steps have.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let parts = [
            (self.dilation.is_some(), "Dilation"),
            (self.chunk.is_some(), "Chunks"),
            (self.prefix > 0, "Prefix"),
            (!self.globals.is_empty(), "Globals"),
            (self.joins(), "Pattern"),
        ];
        parts.into_iter().filter_map(|(is_used, name)| is_used.then_some(name)).collect()
    }

    /// Whether it has more than one part.
    fn joins(&self) -> bool {
        self.adds() || self.dilation.is_some() && self.chunk.is_some()
    }
}

impl fmt::Display for SpecPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.dilation {
            write!(f, ", one key of {step}")?;
        }
        if let Some(size) = self.chunk {
            write!(f, ", chunks of {size} tokens")?;
        }
        if self.prefix > 0 {
            write!(f, ", first {} tokens seen by all", self.prefix)?;
        }
        match self.globals.len() {
            0 => Ok(()),
            1 => f.write_str(", one global token"),
            count => write!(f, ", {count} global tokens"),
        }
    }
}
