//! What fits in place of what does not: found by search, said as lines of TOML.

use super::planner::{formats, least};
use super::{Budget, Plan};
use crate::spec::{CacheFormat, Kind, Spec, SpecWindow};
use std::fmt;

/// A preset near to one that does not fit: the longest window, or without one the most keys, in the format that takes the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    format: CacheFormat,
    window: Option<SpecWindow>,
    queries: usize,
    keys: usize,
    /// Positions of the rope's table, if there are fewer now.
    table: Option<usize>,
    says: Says,
    /// What it takes.
    pub bytes: usize,
}

/// What is said because it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Says {
    format: bool,
    tokens: Option<usize>,
    window: bool,
    queries: bool,
    keys: bool,
    table: bool,
}

/// With as many queries at once as the preset has; and with one, if that is no other.
pub(super) fn nearest(spec: &Spec, budget: Budget) -> Vec<Nearest> {
    let mut found: Vec<Nearest> = Vec::new();
    for queries in [spec.max_q, 1] {
        let try_with = |size| {
            let near = with_size(spec, queries, size);
            let plan = least(&near, budget);
            plan.fits().then_some((near, plan))
        };
        let most = longest(size(spec), |size| try_with(size).is_some());
        let near = most.and_then(try_with).map(|(near, plan)| Nearest::new(spec, &near, &plan));
        // One query because there is but one key is no choice of many queries.
        let is_new = |near: &Nearest| (near.queries > 1 || queries == 1) && !found.contains(near);
        found.extend(near.filter(is_new));
    }
    found
}

/// Keys of the window before the query's own and itself; without a window all keys.
fn size(spec: &Spec) -> usize {
    match spec.mask.window {
        Some(SpecWindow::Keys(keys)) => keys,
        Some(SpecWindow::Span { left, .. }) => left.saturating_add(1),
        None => spec.max_kv,
    }
}

/// The preset with another size and so many queries at most.
fn with_size(spec: &Spec, queries: usize, size: usize) -> Spec {
    let mut near = spec.clone();
    near.cache.tokens = None;
    match &mut near.mask.window {
        Some(SpecWindow::Keys(keys)) => *keys = size,
        Some(SpecWindow::Span { left, .. }) => *left = size - 1,
        None => {
            let least = spec.mask.pattern.globals.last().map_or(1, |token| *token as usize + 1);
            near.max_kv = size.max(least);
        }
    }
    near.max_q = if spec.mask.kind == Kind::Causal { queries.min(near.max_kv) } else { queries };
    if let Some(rope) = &mut near.rope {
        rope.table = rope.table.map(|positions| positions.min(near.max_kv));
    }
    near
}

/// The largest of `1 ..= most` that fits, if 1 does: what fits goes on to fit when there is less of it.
fn longest(most: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if !fits(1) {
        return None;
    }
    let (mut good, mut bad) = (1, most.saturating_add(1));
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

impl Nearest {
    fn new(spec: &Spec, near: &Spec, plan: &Plan) -> Self {
        let table = near.rope.as_ref().and_then(|rope| rope.table);
        Nearest {
            format: plan.format,
            window: near.mask.window,
            queries: near.max_q,
            keys: near.max_kv,
            table,
            says: Says {
                format: formats(spec) != [plan.format],
                tokens: spec.cache.tokens.map(|_| plan.tokens),
                window: near.mask.window != spec.mask.window,
                queries: near.max_q != spec.max_q,
                keys: near.max_kv != spec.max_kv,
                table: table != spec.rope.as_ref().and_then(|rope| rope.table),
            },
            bytes: plan.memory.total(),
        }
    }
}

/// The lines of TOML to change.
impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = self.says;
        let cache = [
            says.format.then(|| format!("format = \"{}\"", self.format)),
            says.tokens.map(|tokens| format!("tokens = {tokens}")),
        ];
        let window = self.window.filter(|_| says.window).map(|window| match window {
            SpecWindow::Keys(keys) => format!("window = {{ keys = {keys} }}"),
            SpecWindow::Span { left, right } => {
                format!("window = {{ left = {left}, right = {right} }}")
            }
        });
        let lengths = [
            says.queries.then(|| format!("queries = {}", self.queries)),
            says.keys.then(|| format!("keys = {}", self.keys)),
        ];
        let table =
            self.table.filter(|_| says.table).map(|positions| format!("table = {positions}"));
        let tables: [(&str, &[Option<String>]); 4] =
            [("mask", &[window]), ("rope", &[table]), ("cache", &cache), ("lengths", &lengths)];
        for (name, lines) in tables {
            let mut lines = lines.iter().flatten().peekable();
            if lines.peek().is_some() {
                writeln!(f, "[{name}]")?;
            }
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}
