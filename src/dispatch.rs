//! Where a checked plan meets the processor: it chooses an entry, calls it, and lends it the output.
//!
//! The only `unsafe` outside `simd/`. Two facts carry it: an entry is called only where its level is
//! available, and a row of output is lent only to the share of the work that it belongs to.

#![expect(
    unsafe_code,
    reason = "calls into target features; disjoint rows of one output"
)]

use crate::entry::{Dynamic, Job, attend};
use crate::error::Error;
use crate::shape::{Heads, Shape};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};
use crate::tiling::{TILE_K, Tiling};
use crate::view::{Strides, ViewMut};
use core::marker::PhantomData;

/// A specialised function, and what it is specialised for.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
    level: Level,
    /// Widths of a key and of a value; `None`: any.
    dims: Option<[usize; 2]>,
    tile_k: usize,
    tiling: Tiling,
    call: unsafe fn(Job<'_>),
}

impl Entry {
    /// An entry that needs no instructions beyond those the whole build enables. `dims` are the
    /// widths of a key and of a value.
    #[must_use]
    pub const fn new(
        name: &'static str,
        level: Level,
        dims: [usize; 2],
        tile_k: usize,
        tiling: Tiling,
        call: fn(Job<'_>),
    ) -> Entry {
        Entry {
            name,
            level,
            dims: Some(dims),
            tile_k,
            tiling,
            call,
        }
    }

    /// An entry with `#[target_feature]`.
    ///
    /// # Safety
    /// Wherever `level` is available, `call` must be sound to call.
    #[must_use]
    pub const unsafe fn with_features(
        name: &'static str,
        level: Level,
        dims: [usize; 2],
        tile_k: usize,
        tiling: Tiling,
        call: unsafe fn(Job<'_>),
    ) -> Entry {
        Entry {
            name,
            level,
            dims: Some(dims),
            tile_k,
            tiling,
            call,
        }
    }

    /// The function's name: its parameters in a fixed order.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The level it needs.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Its tiles.
    #[must_use]
    pub const fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// The widths of a key and of a value it was made for; `None`: any.
    #[must_use]
    pub const fn dims(&self) -> Option<[usize; 2]> {
        self.dims
    }

    /// Keys in a tile: the one constant of an entry that its results' bits depend on.
    #[must_use]
    pub const fn tile_k(&self) -> usize {
        self.tile_k
    }

    /// Floats of scratch for `heads`.
    #[must_use]
    pub const fn scratch_len(&self, heads: Heads) -> usize {
        self.tiling
            .scratch_len(self.level, heads.dim, heads.v_dim, self.tile_k)
    }

    /// Whether it can run `heads`.
    #[must_use]
    pub const fn fits(&self, heads: Heads) -> bool {
        match self.dims {
            Some([dim, v_dim]) => dim == heads.dim && v_dim == heads.v_dim,
            None => true,
        }
    }

    /// Runs a job.
    pub(crate) fn call(&self, job: Job<'_>) {
        // SAFETY: a plan keeps an entry only after `Level::is_available` said yes to its level
        // (`Attention::with_entry`), and wherever its level is available `call` is sound: it has
        // no features at all (`new`), its maker said so (`with_features`), or it enables the very
        // features of its level (`generic`).
        unsafe { (self.call)(job) }
    }
}

impl Entry {
    /// The best entry of a level for `rows` query rows of one key/value head: a generated one for
    /// the head size if there is one, otherwise the generic one. Which it is changes no bit.
    pub(crate) fn choose(level: Level, heads: Heads, rows: usize) -> Entry {
        let pair = Entry::generated(level)
            .iter()
            .find(|pair| pair[0].fits(heads));
        let [many, few] = pair
            .copied()
            .unwrap_or_else(|| Entry::generic(level, heads));
        if rows <= 2 * level.lanes() { few } else { many }
    }

    /// The generated entries of a level: for many queries and for few, for each head size.
    /// None without the feature `specialised`.
    #[must_use]
    pub fn generated(level: Level) -> &'static [[Entry; 2]] {
        #[cfg(feature = "specialised")]
        match level {
            Level::Scalar => crate::generated::scalar::ENTRIES,
            Level::Portable => crate::generated::portable::ENTRIES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => crate::generated::avx2::ENTRIES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => crate::generated::avx512::ENTRIES,
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => &[],
        }
        #[cfg(not(feature = "specialised"))]
        match level {
            Level::Scalar | Level::Portable | Level::Avx2 | Level::Avx512 => &[],
        }
    }

    /// Entries of any head size, for many queries and for few.
    #[must_use]
    pub fn generic(level: Level, heads: Heads) -> [Entry; 2] {
        let [many, few] = [
            Tiling::attend(level, heads.dim, heads.v_dim),
            Tiling::decode(level),
        ];
        let [attend, decode]: [unsafe fn(Job<'_>); 2] = match level {
            Level::Scalar => [attend_scalar, decode_scalar],
            Level::Portable => [attend_portable, decode_portable],
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => [attend_avx2, decode_avx2],
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => [attend_avx512, decode_avx512],
            // Never available there, so a plan refuses it.
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => [attend_scalar, decode_scalar],
        };
        // Heads too wide for a block of several registers take the tiles of `decode`.
        let attend = if many == few { decode } else { attend };
        let entry = |name, tiling, call| Entry {
            name,
            level,
            dims: None,
            tile_k: TILE_K,
            tiling,
            call,
        };
        [
            entry("attend_generic", many, attend),
            entry("decode_generic", few, decode),
        ]
    }
}

/// The generic entries of one level: the tiles of [`Tiling`] for a head size known when running.
macro_rules! generic_entries {
    ($attend:ident, $decode:ident, $simd:expr, $backend:ty, $level:expr $(, $features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        fn $attend(job: Job<'_>) {
            const T: Tiling = Tiling::attend($level, 1, 1);
            attend::<$backend, Dynamic, Dynamic, { T.vectors }, { T.keys }, TILE_K>($simd, job);
        }

        $(#[target_feature(enable = $features)])?
        fn $decode(job: Job<'_>) {
            const T: Tiling = Tiling::decode($level);
            attend::<$backend, Dynamic, Dynamic, { T.vectors }, { T.keys }, TILE_K>($simd, job);
        }
    };
}

generic_entries!(attend_scalar, decode_scalar, Scalar, Scalar, Level::Scalar);
generic_entries!(
    attend_portable,
    decode_portable,
    Portable,
    Portable,
    Level::Portable
);
#[cfg(target_arch = "x86_64")]
generic_entries!(
    attend_avx2,
    decode_avx2,
    Avx2::here(),
    Avx2,
    Level::Avx2,
    "avx2,fma,f16c"
);
#[cfg(target_arch = "x86_64")]
generic_entries!(
    attend_avx512,
    decode_avx512,
    Avx512::here(),
    Avx512,
    Level::Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl"
);

/// What becomes of the sums of a row.
#[derive(Clone, Copy, Debug)]
enum Sums {
    /// Nothing: only the output is wanted.
    Dropped,
    /// The log-sum-exp, `[batch, q_heads, q_len]`.
    Lse(*mut f32),
    /// `m` and `l` of a state, `[batch, q_len, q_heads]` each.
    State { m: *mut f32, l: *mut f32 },
}

/// The right to write some rows of an output: those of every `count`-th query tile, from `index` on.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    o: *mut f32,
    strides: Strides,
    sums: Sums,
    shape: Shape,
    /// Rows of a query tile, and query tiles of a key/value head.
    tile_rows: usize,
    tiles: usize,
    index: usize,
    count: usize,
    output: PhantomData<&'a mut [f32]>,
}

// SAFETY: claims made from one output reach disjoint elements (see `Claim::row`), and nothing else
// reaches them while the borrow of `'a` lasts.
unsafe impl Send for Claim<'_> {}

impl<'a> Claim<'a> {
    /// All rows of an output. `lse` is `[batch, q_heads, q_len]` of `shape`, or absent.
    pub(crate) fn output(
        shape: Shape,
        tile_rows: usize,
        o: ViewMut<'a>,
        lse: Option<&'a mut [f32]>,
    ) -> Result<Self, Error> {
        let rows = shape.rows();
        let sums = match lse {
            None => Sums::Dropped,
            Some(lse) => {
                check_len(crate::error::Tensor::Lse, rows, lse.len())?;
                Sums::Lse(lse.as_mut_ptr())
            }
        };
        Self::all(shape, tile_rows, o, sums)
    }

    /// All rows of a state; `m` and `l` are `[batch, q_len, q_heads]` of `shape`.
    pub(crate) fn state(
        shape: Shape,
        tile_rows: usize,
        o: ViewMut<'a>,
        m: &'a mut [f32],
        l: &'a mut [f32],
    ) -> Result<Self, Error> {
        let rows = shape.rows();
        check_len(crate::error::Tensor::State, rows, m.len())?;
        check_len(crate::error::Tensor::State, rows, l.len())?;
        Self::all(
            shape,
            tile_rows,
            o,
            Sums::State {
                m: m.as_mut_ptr(),
                l: l.as_mut_ptr(),
            },
        )
    }

    fn all(shape: Shape, tile_rows: usize, o: ViewMut<'a>, sums: Sums) -> Result<Self, Error> {
        if o.dims() != shape.o() {
            let (expected, given) = (shape.o(), o.dims());
            return Err(Error::Shape {
                tensor: crate::error::Tensor::O,
                expected,
                given,
            });
        }
        let tiles = (shape.heads.group() * shape.q_len).div_ceil(tile_rows);
        let (strides, o) = (o.strides, o.data.as_mut_ptr());
        Ok(Claim {
            o,
            strides,
            sums,
            shape,
            tile_rows,
            tiles,
            index: 0,
            count: 1,
            output: PhantomData,
        })
    }

    /// The claim cut into `count` shares, each made once.
    pub(crate) fn shares(self, count: usize) -> impl ExactSizeIterator<Item = Claim<'a>> + Send {
        (0..count).map(move |index| Claim {
            index,
            count,
            ..self.copy()
        })
    }

    /// One share; the claim waits until it is done.
    pub(crate) fn share(&mut self, index: usize, count: usize) -> Claim<'_> {
        Claim {
            index,
            count,
            ..self.copy()
        }
    }

    /// The same claim: to be narrowed before it is handed out.
    fn copy(&self) -> Self {
        Claim {
            output: PhantomData,
            ..*self
        }
    }

    /// Query tiles of this share: every `count`-th, since neighbours cost about the same under any
    /// mask. Tile `t` of key/value head `g` of sequence `b` is item `(b * kv_heads + g) * tiles + t`.
    pub(crate) fn items(&self) -> impl Iterator<Item = usize> + use<> {
        (self.index..self.shape.batch * self.shape.heads.kv * self.tiles).step_by(self.count.max(1))
    }

    /// Whether rows are to be divided by their sum of weights.
    pub(crate) fn normalises(&self) -> bool {
        !matches!(self.sums, Sums::State { .. })
    }

    /// Writes query `i` of head `h` of sequence `b`: its channels, and what is wanted of `m` and `l`.
    /// Does nothing for a row of another share.
    pub(crate) fn write(
        &mut self,
        [b, i, h]: [usize; 3],
        (m, l): (f32, f32),
        channels: impl Iterator<Item = f32>,
    ) {
        let Shape {
            batch,
            q_len,
            heads,
            ..
        } = self.shape;
        let group = heads.group().max(1);
        let tile = (i * group + h % group) / self.tile_rows;
        let item = (b * heads.kv + h / group) * self.tiles + tile;
        if b >= batch || i >= q_len || h >= heads.q || item % self.count.max(1) != self.index {
            return;
        }
        // SAFETY: `b`, `i`, `h` lie within the dimensions for which `ViewMut` checked that every
        // row lies inside its slice and apart from every other, and `all` that they are these. The
        // tests above give each row to one share alone, and each share exists once.
        let o = unsafe {
            core::slice::from_raw_parts_mut(self.o.add(self.strides.offset(b, i, h)), heads.v_dim)
        };
        for (to, from) in o.iter_mut().zip(channels) {
            *to = from;
        }
        let state_row = (b * q_len + i) * heads.q + h;
        // SAFETY: both indices are below `batch * q_len * q_heads`, the length that `output` and
        // `state` checked, and belong to this row alone.
        unsafe {
            match self.sums {
                Sums::Dropped => {}
                Sums::Lse(lse) => {
                    *lse.add((b * heads.q + h) * q_len + i) = crate::state::lse(m, l);
                }
                Sums::State { m: all_m, l: all_l } => {
                    *all_m.add(state_row) = m;
                    *all_l.add(state_row) = l;
                }
            }
        }
    }
}

pub(crate) fn check_len(
    tensor: crate::error::Tensor,
    needed: usize,
    given: usize,
) -> Result<(), Error> {
    if needed == given {
        Ok(())
    } else {
        Err(Error::Length {
            tensor,
            needed,
            given,
        })
    }
}
