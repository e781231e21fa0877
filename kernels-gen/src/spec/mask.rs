//! Which keys a query of the model sees: as words, as an expression, and for measuring.

use super::SpecPattern;
use measure::problem::Sight;
use serde::Deserialize;
use std::fmt;

/// Which keys a query sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecMask {
    /// Without a window.
    pub kind: Kind,
    /// What a window leaves of that.
    pub window: Option<SpecWindow>,
    /// First keys that stay visible when the window has passed them.
    pub sinks: usize,
    /// What no band can say.
    pub pattern: SpecPattern,
}

/// Which keys a query sees without a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Those up to its own position.
    Causal,
    /// All.
    Full,
}

/// A sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecWindow {
    /// So many keys, the query's own the last.
    Keys(usize),
    /// Keys before and after its own.
    Span {
        /// Before.
        left: usize,
        /// After.
        right: usize,
    },
}

impl SpecMask {
    /// Whether it matters where a query stands.
    #[must_use]
    pub fn is_positional(&self) -> bool {
        self.kind == Kind::Causal || self.window.is_some() || !self.pattern.is_empty()
    }

    /// Tokens of which a query sees none but the sinks and the newest, if `queries` come at once: room enough for a ring. `None`:
    /// all may be seen.
    #[must_use]
    pub fn reach(&self, queries: usize) -> Option<usize> {
        let before = match self.window? {
            SpecWindow::Keys(keys) => keys.saturating_sub(1),
            SpecWindow::Span { left, .. } => left,
        };
        let newest = before.saturating_add(queries);
        (!self.pattern.adds()).then(|| newest.saturating_add(self.sinks))
    }

    /// The body of a function that gives the mask of queries at `position`, line by line.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        if self.pattern.adds() {
            // The band is a part of the pattern then.
            return vec!["Mask::at(position)".to_owned()];
        }
        let window = self.window_expression();
        let mut steps = match (self.kind, window) {
            (Kind::Full, None) if self.pattern.is_empty() => vec!["Mask::full()".to_owned()],
            (Kind::Full, None) => vec!["Mask::at(position)".to_owned()],
            (Kind::Full, Some(window)) => vec![format!("Mask::window(position, {window})")],
            (Kind::Causal, None) => vec!["Mask::causal(position)".to_owned()],
            (Kind::Causal, Some(window)) => {
                vec!["Mask::causal(position)".to_owned(), format!("mask & {window}")]
            }
        };
        if self.sinks > 0 {
            steps.push(format!("mask.sinks({})", self.sinks));
        }
        let last = steps.pop();
        let named = steps.into_iter().map(|step| format!("let mask = {step};"));
        named.chain(last).collect()
    }

    /// What makes the pattern beside the mask, step by step; nothing if there is none.
    #[must_use]
    pub fn pattern_steps(&self) -> Vec<String> {
        let limits = match (self.kind, self.window) {
            (Kind::Causal, None) => Some("Window::span(Window::UNBOUNDED, 0)".to_owned()),
            _ => self.window_expression(),
        };
        let mask = "Mask::full()".to_owned();
        let mut band = vec![limits.map_or(mask, |window| format!("Mask::full() & {window}"))];
        if self.sinks > 0 {
            band.push(format!("pattern.sinks({})", self.sinks));
        }
        self.pattern.steps(band)
    }

    /// The names of flashlet that the mask and the pattern have.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = vec!["Mask"];
        let bounded = self.pattern.adds() && self.kind == Kind::Causal;
        if self.window.is_some() || bounded {
            names.push("Window");
        }
        if self.is_positional() {
            names.push("Offset");
        }
        names.extend(self.pattern.names());
        names
    }

    fn window_expression(&self) -> Option<String> {
        self.window.map(|window| match window {
            SpecWindow::Keys(keys) => format!("Window::keys({keys})"),
            SpecWindow::Span { left, right } => format!("Window::span({left}, {right})"),
        })
    }

    /// The same, said apart from flashlet's masks.
    #[must_use]
    pub fn sight(&self) -> Sight {
        let (left, right) = match self.window {
            None => (None, None),
            Some(SpecWindow::Keys(keys)) => (Some(keys.saturating_sub(1)), Some(0)),
            Some(SpecWindow::Span { left, right }) => (Some(left), Some(right)),
        };
        let right = if self.kind == Kind::Causal { Some(0) } else { right };
        let SpecPattern { dilation, chunk, prefix, ref globals } = self.pattern;
        // It lives as long as the program, as a preset does.
        let globals = globals.clone().leak();
        Sight { left, right, sinks: self.sinks, dilation, chunk, prefix, globals }
    }
}

impl fmt::Display for SpecMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Causal => "causal",
            Kind::Full => "bidirectional",
        })?;
        match self.window {
            None => {}
            Some(SpecWindow::Keys(keys)) => write!(f, ", window of {keys} keys")?,
            Some(SpecWindow::Span { left, right }) => {
                write!(f, ", window of {left} keys before and {right} after")?;
            }
        }
        if self.sinks > 0 {
            write!(f, ", first {} keys always visible", self.sinks)?;
        }
        self.pattern.fmt(f)
    }
}
