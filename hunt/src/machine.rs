//! Caches of three layouts and the lists of tokens that they must keep.

use crate::cache::{Case, New, Step};
use crate::calls::{Call, Output, difference};
use crate::memory::{Memory, Poisoned, loaded, views};
use flashlet::{
    CacheShape, Cached, Error, Heads, KvCache, List, PagedCache, Pages, Precision, Side, Tensor,
};
use std::rc::Rc;

/// A token: what it was, and what is kept of it.
struct Token {
    raw: [Vec<f32>; 2],
    kept: [Vec<f32>; 2],
}

/// Tokens as a cache should have them; `None`: gone.
type Tokens = Vec<Option<Rc<Token>>>;

/// A cache, or a sequence of one, beside the list of its tokens.
struct Listed<T> {
    it: T,
    list: Tokens,
}

pub(crate) struct Machine<'a, F: Poisoned, T> {
    case: &'a Case,
    straight: Listed<KvCache<'a, F>>,
    ring: Listed<KvCache<'a, F>>,
    paged: PagedCache<'a, F>,
    sequences: Vec<Listed<Pages<'a>>>,
    current: usize,
    /// Those of sequences to come.
    tables: T,
}

impl<'a, F: Poisoned, T: Iterator<Item = &'a mut [u32]>> Machine<'a, F, T> {
    pub(crate) fn new(
        case: &'a Case,
        (straight, ring, paged): (&'a mut Memory<F>, &'a mut Memory<F>, PagedCache<'a, F>),
        mut tables: T,
    ) -> Self {
        let of = |it| Listed { it, list: Vec::new() };
        let ring = ring.straight().ring(case.ring[1]).expect("room for a token beside the sinks");
        let first = Pages::new(tables.next().unwrap_or(&mut []));
        let sequences = vec![Listed { it: first, list: Vec::new() }];
        let (straight, ring) = (of(straight.straight()), of(ring));
        Machine { case, straight, ring, paged, sequences, current: 0, tables }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        let case = self.case;
        match step {
            Step::Append(new) => self.append(new),
            Step::Truncate(n) => self.truncate(*n),
            Step::Attend(call, q) => self.attend(call, &q.0),
            Step::Fork { adopts } => self.fork(*adopts),
            Step::Switch(to) => self.current = to % self.sequences.len(),
            Step::Evict { sinks, window } => self.evict(*sinks, *window),
            Step::Clear => {
                for Listed { it, list } in [&mut self.straight, &mut self.ring] {
                    it.clear();
                    list.clear();
                }
                let Listed { it, list } = &mut self.sequences[self.current];
                self.paged.release(it);
                list.clear();
            }
            Step::Refused => self.refused(),
        }
        assert!(self.current < self.sequences.len(), "{case:?}");
    }

    /// Tokens and what is kept of each: what a cache of them alone says. `None` if they are refused.
    fn tokens(&self, new: &New) -> Option<Tokens> {
        let Heads { kv, dim, v_dim, .. } = self.case.heads;
        let raw = new.rows.each_ref().map(|rows| &rows.0[..]);
        let mut memory = Memory::<F>::new(self.case.setting, CacheShape::new(self.case.heads, 30));
        let mut cache = memory.straight();
        let [k, v] = views(raw, new.n, self.case.heads);
        match cache.append(k, v) {
            Err(Error::NotFinite { .. }) if self.case.setting.refuses_nan() => return None,
            result => result.expect("room for them"),
        }
        let kept = loaded(&cache, 0, new.n, self.case.heads);
        let of = |x: [&[f32]; 2], i: usize| {
            [(0, kv * dim), (1, kv * v_dim)].map(|(s, w)| x[s][i * w..(i + 1) * w].to_vec())
        };
        let kept = [&kept[0][..], &kept[1]];
        let token = |i| Some(Rc::new(Token { raw: of(raw, i), kept: of(kept, i) }));
        Some((0..new.n).map(token).collect())
    }

    fn append(&mut self, new: &New) {
        let (case, tokens) = (self.case, self.tokens(new));
        let raw = new.rows.each_ref().map(|rows| &rows.0[..]);
        let [k, v] = views(raw, new.n, case.heads);
        let judged = |found: &Result<(), Error>, room: Option<Error>| match (room, &tokens) {
            (Some(error), _) => assert_eq!(*found, Err(error), "{case:?}"),
            (_, None) => assert!(matches!(found, Err(Error::NotFinite { .. })), "{case:?}"),
            _ => assert_eq!(*found, Ok(()), "{case:?}"),
        };
        let Listed { it, list } = &mut self.straight;
        let (needed, given) = (list.len() + new.n, case.capacity);
        let found = it.append(k, v);
        judged(&found, (needed > given).then_some(Error::Capacity { needed, given }));
        if found.is_ok() {
            list.extend(tokens.clone().unwrap_or_default());
        }
        let found = self.ring.it.append(k, v);
        judged(&found, None);
        for token in tokens.clone().unwrap_or_default() {
            let [room, sinks] = case.ring;
            let list = &mut self.ring.list;
            list.push(token);
            let gone = (list.len() - 1).checked_sub(room - sinks).filter(|gone| *gone >= sinks);
            if let Some(gone) = gone {
                list[gone] = None;
            }
        }
        let room = self.room(new.n);
        let Listed { it, list } = &mut self.sequences[self.current];
        let found = self.paged.append(it, k, v);
        judged(&found, room);
        if found.is_ok() {
            list.extend(tokens.unwrap_or_default());
        }
    }

    /// What is wrong with appending so many tokens to the current sequence, if anything is.
    fn room(&self, n: usize) -> Option<Error> {
        let [blocks, block_len] = self.case.blocks;
        let Listed { it, list } = &self.sequences[self.current];
        let [before, needed] = [list.len(), list.len() + n].map(|len| len.div_ceil(block_len));
        if needed > blocks {
            let list = List::BlockTable;
            return Some(Error::ListLength { list, needed, given: blocks });
        }
        // The last block, if it has room, may be another sequence's too, and is copied then; one that is gone is replaced.
        let tail =
            if list.len() % block_len == 0 || n == 0 { None } else { it.blocks(block_len).last() };
        let is_tail = |block: &&u32| tail == Some(block);
        let owners =
            self.sequences.iter().flat_map(|other| other.it.blocks(block_len)).filter(is_tail);
        let needed = needed - before + usize::from(owners.count() > 1 || tail == Some(&u32::MAX));
        let given = self.paged.free_blocks();
        (needed > given).then_some(Error::Capacity { needed, given })
    }

    fn truncate(&mut self, n: usize) {
        let judged = |found: Result<(), Error>, list: &mut Tokens| match list.len().checked_sub(n) {
            Some(len) => {
                assert_eq!(found, Ok(()), "{:?}", self.case);
                list.truncate(len);
            }
            None => assert_eq!(found, Err(Error::Rollback { back: n, held: list.len() })),
        };
        for Listed { it, list } in [&mut self.straight, &mut self.ring] {
            judged(it.truncate(n), list);
        }
        let Listed { it, list } = &mut self.sequences[self.current];
        judged(self.paged.truncate(it, n), list);
    }

    fn fork(&mut self, adopts: bool) {
        let [_, block_len] = self.case.blocks;
        let (free, Listed { it, list }) = (self.paged.free_blocks(), &self.sequences[self.current]);
        let Some(table) = self.tables.next() else { return };
        let blocks = it.blocks(block_len);
        let fork = if adopts && list.iter().all(Option::is_some) {
            table[..blocks.len()].copy_from_slice(blocks);
            self.paged.adopt(table, list.len())
        } else {
            self.paged.fork(it, table)
        };
        assert_eq!(self.paged.free_blocks(), free, "{:?}", self.case);
        let fork = Listed { it: fork.expect("a table as long"), list: list.clone() };
        self.sequences.push(fork);
    }

    fn evict(&mut self, sinks: usize, window: usize) {
        let [_, block_len] = self.case.blocks;
        let Listed { it, list } = &mut self.sequences[self.current];
        let before = list.len().saturating_sub(window).max(sinks);
        let found = self.paged.evict(it, sinks, before);
        if before > list.len() {
            let error = Error::KeyRange { start: sinks, end: before, kv_len: list.len() };
            return assert_eq!(found, Err(error), "{:?}", self.case);
        }
        assert!(found.is_ok(), "{found:?} {:?}", self.case);
        let whole = sinks.div_ceil(block_len)..before / block_len;
        if whole.start < whole.end {
            list[whole.start * block_len..whole.end * block_len].fill(None);
        }
    }

    /// Attention over each cache, over the current sequence, and over all of them at once.
    fn attend(&self, call: &Call, q: &[f32]) {
        let one = |list: &Tokens| self.expected(call, self.queries(call, q, 0), list);
        for Listed { it, list } in [&self.straight, &self.ring] {
            self.assert_attends(call, q, it, one(list));
        }
        let Listed { it, list } = &self.sequences[self.current];
        self.assert_attends(call, q, &self.paged.read(&[it]), one(list));
        let pages: Vec<&Pages<'_>> = self.sequences.iter().map(|sequence| &sequence.it).collect();
        let mut all = Some(Output::default());
        for (b, Listed { list, .. }) in self.sequences.iter().enumerate() {
            let next = self.expected(call, self.queries(call, q, b), list);
            all = all.zip(next).map(|((mut o, mut lse), next)| {
                o.extend(next.0);
                lse.extend(next.1);
                (o, lse)
            });
        }
        self.assert_attends(call, q, &self.paged.read(&pages), all);
    }

    /// Those of sequence `b`.
    fn queries<'q>(&self, call: &Call, q: &'q [f32], b: usize) -> &'q [f32] {
        let len = call.q_len * call.heads.q * call.heads.dim;
        &q[b * len..(b + 1) * len]
    }

    /// What attention over a list must be: that over a new cache of it, which is certified. `None` if a query would see what is gone.
    fn expected(&self, call: &Call, q: &[f32], list: &Tokens) -> Option<Output> {
        let (setting, heads, len) = (self.case.setting, self.case.heads, list.len());
        let sees = |j| (0..call.q_len).any(|i| call.sight.sees((i, call.q_len), j, len));
        if list.iter().enumerate().any(|(j, token)| token.is_none() && sees(j)) {
            return None;
        }
        // What is gone is hidden, and may be anything that can be kept.
        let gone = if setting.refuses_nan() { 9e9 } else { f32::NAN };
        let rows = |of: fn(&Token) -> &[Vec<f32>; 2]| {
            [(0, heads.kv * heads.dim), (1, heads.kv * heads.v_dim)].map(|(side, width)| {
                let row = |token: &Option<Rc<Token>>| match token {
                    Some(token) => of(token)[side].clone(),
                    None => vec![gone; width],
                };
                list.iter().flat_map(row).collect::<Vec<f32>>()
            })
        };
        let [raw_k, raw_v] = rows(|token| &token.raw);
        let mut memory = Memory::<F>::new(setting, CacheShape::new(heads, len.max(1)));
        let mut cache = memory.straight();
        let [k, v] = views([&raw_k, &raw_v], len, heads);
        cache.append(k, v).expect("tokens that were kept before");
        let found = call.cached(q, &cache).expect("nothing is gone");
        if call.precision != Precision::Int8Products {
            let ([k, v], q) = (rows(|token| &token.kept), setting.turned(q, heads.dim));
            call.judge([&q, &k, &v], len, &found, || format!("{:?}", self.case));
        }
        Some(found)
    }

    fn assert_attends(&self, call: &Call, q: &[f32], cache: &dyn Cached, expected: Option<Output>) {
        let len = cache.batch() * call.q_len * call.heads.q * call.heads.dim;
        let found = call.cached(&q[..len], cache);
        let Some((o, lse)) = expected else {
            let is_refused = matches!(found, Err(Error::Evicted { .. }));
            return assert!(is_refused, "{call:?} sees what is gone: {:?}", self.case);
        };
        let (found, found_lse) = found.expect("nothing that is gone is seen");
        for (name, a, b) in [("o", &found, &o), ("lse", &found_lse, &lse)] {
            let differs = difference(a, b);
            assert_eq!(differs, None, "{name} is not that of a list: {call:?}\n{:?}", self.case);
        }
    }

    /// Calls that make no sense; what they leave is looked at by [`Machine::check`].
    fn refused(&mut self) {
        let Case { heads, blocks: [blocks, block_len], .. } = *self.case;
        let zeros = vec![0.0; 2 * heads.kv * heads.dim.max(heads.v_dim)];
        let [one, two] = [1, 2].map(|n| {
            let [k, v] = [heads.dim, heads.v_dim].map(|dim| &zeros[..n * heads.kv * dim]);
            views([k, v], n, heads)
        });
        let shape = |found| matches!(found, Err(Error::Shape { tensor: Tensor::V, .. }));
        let Listed { it, list } = &mut self.sequences[self.current];
        assert!(shape(self.straight.it.append(two[0], one[1])));
        assert!(shape(self.ring.it.append(one[0], two[1])));
        assert!(shape(self.paged.append(it, one[0], two[1])));
        let (held, back) = (list.len(), list.len() + 1);
        assert_eq!(self.paged.truncate(it, back), Err(Error::Rollback { back, held }));
        let range = |start, end| Some(Error::KeyRange { start, end, kv_len: held });
        assert_eq!(self.paged.evict(it, back, back).err(), range(back, back));
        assert_eq!(self.paged.evict(it, 1, 0).err(), range(1, 0));
        let mut row = vec![7.0; back * heads.dim];
        let read = [&*it];
        let read = self.paged.read(&read);
        assert_eq!(read.load(Side::Keys, [0, 0], 0..back, &mut row).err(), range(0, back));
        assert!(
            read.load(Side::Keys, [1, 0], 0..0, &mut []).is_err() && row.iter().all(|x| *x == 7.0)
        );
        // Tables that name what there is not, the same twice, or too little.
        let (value, limit) = (blocks as u32, blocks);
        let (index, table) = (1, List::BlockTable);
        let entry = Error::Entry { list: table, index, value, limit };
        assert_eq!(self.paged.adopt(&mut [0, value], block_len + 1).err(), Some(entry));
        let twice = Error::BlockTwice { block: 0 };
        assert_eq!(self.paged.adopt(&mut [0, 0], 2 * block_len).err(), Some(twice));
        let short = |needed, given| Some(Error::ListLength { list: table, needed, given });
        assert_eq!(self.paged.adopt(&mut [0], block_len + 1).err(), short(2, 1));
        if held > 0 {
            assert_eq!(self.paged.fork(it, &mut []).err(), short(held.div_ceil(block_len), 0));
        }
    }

    /// Panics unless everything has what it should have.
    pub(crate) fn check(&self) {
        for Listed { it, list } in [&self.straight, &self.ring] {
            self.check_list(it, it.len(), list);
        }
        let mut used: Vec<u32> = Vec::new();
        for Listed { it, list } in &self.sequences {
            self.check_list(&self.paged.read(&[it]), it.len(), list);
            used.extend(it.blocks(self.case.blocks[1]).iter().filter(|block| **block != u32::MAX));
        }
        used.sort_unstable();
        used.dedup();
        let free = self.case.blocks[0] - used.len();
        assert_eq!(self.paged.free_blocks(), free, "a block is lost: {:?}", self.case);
    }

    fn check_list(&self, cache: &dyn Cached, len: usize, list: &Tokens) {
        assert_eq!(len, list.len(), "{:?}", self.case);
        let all = loaded(cache, 0, len, self.case.heads);
        for (side, all) in all.iter().enumerate() {
            let rows = all.chunks_exact((all.len() / len.max(1)).max(1));
            for (i, (row, token)) in rows.zip(list).enumerate() {
                let Some(token) = token else { continue };
                let differs = difference(row, &token.kept[side]);
                assert_eq!(differs, None, "token {i}, side {side}: {:?}", self.case);
            }
        }
    }
}
