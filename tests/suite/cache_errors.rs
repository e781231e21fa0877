//! What caches refuse, leaving everything as it was; and what is not finite, which they do not lose.

use flashlet::{
    Attention, CacheShape, Cached, E4m3, E5m2, Error, Given, Heads, Inputs, KvCache, List, Mask,
    Offset, Outputs, Overflow, PagedCache, Pages, Q4_0, Q8_0, Scales, Shape, Side, Tensor, View,
    ViewMut,
};
use half::f16;

const HEADS: Heads = Heads { q: 2, kv: 1, dim: 4, v_dim: 2 };

fn straight<'a>(k: &'a mut [f32], v: &'a mut [f32]) -> KvCache<'a, f32> {
    KvCache::new(CacheShape::new(HEADS, 3), k, v).unwrap()
}

#[test]
fn shapes_of_caches_that_cannot_be_are_refused() {
    let new = |shape: CacheShape, k: usize, v: usize| {
        let (mut k, mut v) = (vec![0.0_f32; k], vec![f16::ZERO; v]);
        KvCache::new(shape, &mut k, &mut v).map(|_| ()).unwrap_err()
    };
    let shape = CacheShape::new(HEADS, 3);
    let length = |tensor, needed, given| Error::Length { tensor, needed, given };
    assert_eq!(new(shape, 11, 6), length(Tensor::K, 12, 11));
    assert_eq!(new(shape, 12, 7), length(Tensor::V, 6, 7));
    let list = List::Blocks;
    assert_eq!(new(CacheShape::new(HEADS, 0), 0, 0), Error::ZeroBlock { list });
    assert_eq!(new(CacheShape::paged(HEADS, 0, 3), 0, 0), Error::ZeroBlock { list });
    let two = CacheShape::paged(HEADS, 2, 3);
    assert_eq!(new(two, 24, 12), Error::ListLength { list, needed: 1, given: 2 });
    assert_eq!(
        new(CacheShape { heads: 0, ..shape }, 0, 0),
        Error::ZeroHeads { q_heads: 0, kv_heads: 0 }
    );
    for dim in [0, 577] {
        let wide = Error::HeadDim { head_dim: dim, max: 576 };
        assert_eq!(new(CacheShape { dim, ..shape }, 0, 0), wide);
        let wide = Error::ValueDim { v_dim: dim, max: 576 };
        assert_eq!(new(CacheShape { v_dim: dim, ..shape }, 0, 0), wide);
    }
    for tokens in [usize::MAX, usize::MAX / 2, usize::MAX / 16 + 1] {
        assert!(matches!(new(CacheShape::new(HEADS, tokens), 0, 0), Error::Overflow { .. }));
        let paged = CacheShape::paged(HEADS, tokens, tokens);
        assert!(matches!(new(paged, 0, 0), Error::Overflow { .. }));
        assert_eq!(paged.bytes::<f32, f32>(), usize::MAX);
    }
    let mut none: [Q8_0; 0] = [];
    let error = KvCache::new(shape, &mut none, &mut []).map(|_: KvCache<'_, Q8_0, Q4_0>| ());
    assert_eq!(error.unwrap_err(), Error::Channels { dim: 4, block: 32 });
    let (mut k, mut v, mut counts) = ([0.0_f32; 24], [0.0_f32; 12], [0; 3]);
    let error = PagedCache::new(two, &mut k, &mut v, &mut counts).map(|_| ()).unwrap_err();
    assert_eq!(error, length(Tensor::Counts, 2, 3));
    // One number of a block means that there is none.
    let (most, mut none) = (u32::MAX as usize, [0.0_f32; 0]);
    let many = CacheShape::paged(HEADS, most, 1);
    let error = PagedCache::new(many, &mut none, &mut [0.0_f32; 0], &mut []).map(|_| ());
    assert_eq!(error.unwrap_err(), Error::ListLength { list, needed: most, given: most });
    let fewer = CacheShape::paged(HEADS, most - 1, 1);
    let error = PagedCache::new(fewer, &mut none, &mut [0.0_f32; 0], &mut []).map(|_| ());
    assert_eq!(error.unwrap_err(), length(Tensor::K, 4 * (most - 1), 0));
}

#[test]
fn what_a_cache_does_not_have_is_not_loaded() {
    let (mut k, mut v) = ([0.0; 12], [0.0; 6]);
    let mut cache = straight(&mut k, &mut v);
    let x = [1.0; 8];
    let view = |dim| View::packed(&x, [1, 2, 1, dim]).unwrap();
    cache.append(view(4), view(2)).unwrap();
    let load = |side, at, tokens, len| {
        let mut row = vec![7.0; len];
        let loaded = cache.load(side, at, tokens, &mut row);
        assert!(loaded.is_ok() || row.iter().all(|x| *x == 7.0), "nothing was written");
        loaded.map(|()| row)
    };
    assert_eq!(load(Side::Keys, [0, 0], 0..2, 8), Ok(vec![1.0; 8]));
    assert_eq!(load(Side::Values, [0, 0], 1..2, 2), Ok(vec![1.0; 2]));
    assert_eq!(load(Side::Keys, [0, 0], 2..2, 0), Ok(vec![]));
    for [b, g] in [[1, 0], [0, 1]] {
        let error = Error::Row { row: [b, 1, g], limits: [1, 2, 1] };
        assert_eq!(load(Side::Keys, [b, g], 1..2, 4), Err(error));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what is refused")]
    for tokens in [1..3, 2..1] {
        let error = Error::KeyRange { start: tokens.start, end: tokens.end, kv_len: 2 };
        assert_eq!(load(Side::Keys, [0, 0], tokens, 4), Err(error));
    }
    let error = Error::Length { tensor: Tensor::V, needed: 4, given: 3 };
    assert_eq!(load(Side::Values, [0, 0], 0..2, 3), Err(error));
}

#[test]
fn scales_are_those_that_a_format_takes() {
    let unwanted = |tensor| Error::Unwanted { tensor };
    fn of_f32(scales: Scales<'_>) -> Error {
        let shape = CacheShape::new(HEADS, 3);
        let (mut k, mut v) = ([0.0_f32; 12], [0.0_f32; 6]);
        KvCache::new(shape, &mut k, &mut v)
            .unwrap()
            .scales(scales, Scales::None)
            .map(|_| ())
            .unwrap_err()
    }
    assert_eq!(of_f32(Scales::ByToken(&mut [0.0; 3])), unwanted(Tensor::Scales));
    fn of_fp8(scales: Scales<'_>) -> Error {
        let shape = CacheShape::new(HEADS, 3);
        let (mut k, mut v) = ([E4m3::default(); 12], [E5m2::default(); 6]);
        KvCache::new(shape, &mut k, &mut v)
            .unwrap()
            .scales(Scales::None, scales)
            .map(|_| ())
            .unwrap_err()
    }
    assert_eq!(of_fp8(Scales::Affine(&mut [0.0; 3], &mut [0; 3])), unwanted(Tensor::Zeros));
    let given = Given { scales: &[1.0], zeros: &[1] };
    assert_eq!(of_fp8(Scales::Given(given)), unwanted(Tensor::Zeros));
    let length = |tensor, needed, given| Error::Length { tensor, needed, given };
    assert_eq!(of_fp8(Scales::ByToken(&mut [0.0; 4])), length(Tensor::Scales, 3, 4));
    for (at, scale) in [0.0, -1.0, f32::NAN, f32::INFINITY].into_iter().enumerate() {
        let scales = [[1.0, scale], [scale, 1.0]][at % 2];
        let given = Given { scales: &scales, zeros: &[] };
        let at = [0, 0, 0, 1 - at % 2];
        assert_eq!(of_fp8(Scales::Given(given)), Error::NotFinite { tensor: Tensor::Scales, at });
    }
    let given = Given { scales: &[1.0; 3], zeros: &[] };
    assert_eq!(of_fp8(Scales::Given(given)), length(Tensor::Scales, 1, 3));
    fn of_i8(scales: Scales<'_>) -> Error {
        let shape = CacheShape::new(HEADS, 3);
        let (mut k, mut v) = ([0_i8; 12], [0_i8; 6]);
        KvCache::new(shape, &mut k, &mut v)
            .unwrap()
            .scales(scales, Scales::None)
            .map(|_| ())
            .unwrap_err()
    }
    assert_eq!(of_i8(Scales::Affine(&mut [0.0; 3], &mut [0; 2])), length(Tensor::Zeros, 3, 2));
    let given = Given { scales: &[1.0; 4], zeros: &[0; 3] };
    assert_eq!(of_i8(Scales::Given(given)), length(Tensor::Zeros, 4, 3));
}

#[test]
fn what_does_not_fit_a_cache_changes_nothing() {
    let (mut k, mut v) = ([0.0; 12], [0.0; 6]);
    let mut cache = straight(&mut k, &mut v);
    let (x, shape) = ([1.0; 16], CacheShape::new(HEADS, 3));
    let view = |n, dim| View::packed(&x, [1, n, 1, dim]).unwrap();
    cache.append(view(2, 4), view(2, 2)).unwrap();
    let error = cache.append(view(2, 4), view(2, 2)).unwrap_err();
    assert_eq!(error, Error::Capacity { needed: 4, given: 3 });
    let error = cache.append(view(1, 4), view(2, 2)).unwrap_err();
    assert_eq!(
        error,
        Error::Shape { tensor: Tensor::V, expected: [1, 1, 1, 2], given: [1, 2, 1, 2] }
    );
    let two = View::packed(&x, [2, 1, 1, 4]).unwrap();
    let error = cache.append(two, view(1, 2)).unwrap_err();
    assert_eq!(
        error,
        Error::Shape { tensor: Tensor::K, expected: [1, 1, 1, 4], given: [2, 1, 1, 4] }
    );
    assert_eq!(cache.truncate(3).unwrap_err(), Error::Rollback { back: 3, held: 2 });
    assert_eq!((cache.len(), cache.capacity(), cache.is_empty()), (2, 3, false));
    assert_eq!(cache.ring(3).map(|_| ()).unwrap_err(), Error::Capacity { needed: 4, given: 3 });
    assert!(straight(&mut k, &mut v).ring(usize::MAX).is_err());
    assert_eq!(shape.bytes::<f32, f16>(), 12 * 4 + 6 * 2);
}

#[test]
fn block_tables_that_cannot_be_are_refused() {
    let shape = CacheShape::paged(HEADS, 4, 2);
    let (mut k, mut v, mut counts) = ([0.0_f32; 32], [0.0_f32; 16], [7; 4]);
    let mut cache = PagedCache::new(shape, &mut k, &mut v, &mut counts).unwrap();
    let list = List::BlockTable;
    let mut table = [3, 0, 4, 0];
    let error = cache.adopt(&mut table, 9).unwrap_err();
    assert_eq!(error, Error::ListLength { list, needed: 5, given: 4 });
    let error = cache.adopt(&mut table, 5).unwrap_err();
    assert_eq!(error, Error::Entry { list, index: 2, value: 4, limit: 4 });
    let error = cache.adopt(&mut [3, 1, 3], 6).unwrap_err();
    assert_eq!(error, Error::BlockTwice { block: 3 });
    assert_eq!(cache.free_blocks(), 4);
    // Behind the last token a table may hold anything.
    let mut adopted = cache.adopt(&mut table, 3).unwrap();
    assert_eq!((cache.free_blocks(), adopted.blocks(2)), (2, &[3, 0][..]));
    let x = [1.0; 32];
    let view = |n, dim| View::packed(&x, [1, n, 1, dim]).unwrap();
    let mut other = [0; 9];
    let mut other = Pages::new(&mut other);
    let error = cache.append(&mut other, view(5, 4), view(5, 2)).unwrap_err();
    assert_eq!(error, Error::Capacity { needed: 3, given: 2 });
    cache.append(&mut other, view(4, 4), view(4, 2)).unwrap();
    assert_eq!(cache.append(&mut adopted, view(1, 4), view(1, 2)), Ok(()));
    let error = cache.append(&mut adopted, view(1, 4), view(1, 2)).unwrap_err();
    assert_eq!(error, Error::Capacity { needed: 1, given: 0 });
    let error = cache.append(&mut adopted, view(5, 4), view(5, 2)).unwrap_err();
    assert_eq!(error, Error::ListLength { list, needed: 5, given: 4 });
    assert_eq!(
        cache.fork(&other, &mut [0]).unwrap_err(),
        Error::ListLength { list, needed: 2, given: 1 }
    );
    let error = cache.evict(&mut other, 3, 2).unwrap_err();
    assert_eq!(error, Error::KeyRange { start: 3, end: 2, kv_len: 4 });
    let error = cache.evict(&mut other, 0, 5).unwrap_err();
    assert_eq!(error, Error::KeyRange { start: 0, end: 5, kv_len: 4 });
    assert_eq!(cache.truncate(&mut other, 5).unwrap_err(), Error::Rollback { back: 5, held: 4 });
    assert_eq!((other.len(), adopted.len(), cache.free_blocks()), (4, 4, 0));
}

/// The output of one query over a cache.
fn attend(cache: &dyn Cached, mask: Mask) -> Result<[f32; 4], Error> {
    let shape = Shape { batch: 1, q_len: 1, kv_len: cache.kv_len(), heads: HEADS };
    let attention = Attention::new(shape, mask)?;
    let (mut o, mut scratch) = ([7.0; 4], vec![0.0; attention.scratch_len()]);
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
    let inputs = Inputs::cached(View::packed(&[0.0; 8], shape.q())?, cache);
    attention.bind(inputs, outputs, &mut scratch)?.run();
    Ok(o)
}

#[test]
fn what_is_gone_is_not_seen_and_what_is_not_there_is_refused() {
    let (mut k, mut v) = ([0.0; 12], [0.0; 6]);
    let mut ring = straight(&mut k, &mut v).ring(1).unwrap();
    let causal = Mask::causal(Offset::BOTTOM_RIGHT);
    assert_eq!(attend(&ring, causal), Ok([0.0; 4]), "nothing is there yet");
    for i in 0..5 {
        let x = [i as f32; 4];
        let view = |dim| View::packed(&x, [1, 1, 1, dim]).unwrap();
        ring.append(view(4), view(2)).unwrap();
    }
    assert_eq!(attend(&ring, causal), Err(Error::Evicted { start: 1, end: 3 }));
    let near = causal & flashlet::Window::keys(2);
    assert_eq!(attend(&ring, near), Ok([3.5; 4]));
    assert!(attend(&ring, near.sinks(1)).unwrap().iter().all(|x| (x - 7.0 / 3.0).abs() < 1e-6));
    assert_eq!(attend(&ring, near.sinks(2)), Err(Error::Evicted { start: 1, end: 3 }));
    // Three were wrong: token 1 is gone all the same.
    ring.truncate(3).unwrap();
    assert_eq!(attend(&ring, near), Err(Error::Evicted { start: 1, end: 2 }));
    let shape = Shape { batch: 1, q_len: 1, kv_len: 4, heads: HEADS };
    let plan = Attention::new(shape, causal).unwrap();
    let q = [0.0; 8];
    let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), &ring);
    let (mut o, mut scratch) = ([0.0; 4], vec![0.0; plan.scratch_len()]);
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
    let error = plan.bind(inputs, outputs, &mut scratch).map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        Error::Shape { tensor: Tensor::K, expected: [1, 4, 1, 4], given: [1, 2, 1, 4] }
    );
    // No query asks for what is gone.
    let shape = Shape { q_len: 0, kv_len: 2, ..shape };
    let plan = Attention::new(shape, causal).unwrap();
    let inputs = Inputs::cached(View::packed(&[0.0; 0], shape.q()).unwrap(), &ring);
    let outputs = Outputs::new(ViewMut::packed(&mut [0.0; 0], shape.o()).unwrap());
    assert!(plan.bind(inputs, outputs, &mut scratch).is_ok());
}

#[test]
fn lists_of_lengths_show_less_of_a_cache_and_never_more() {
    let shape = CacheShape::paged(HEADS, 8, 2);
    let (mut k, mut v, mut counts) = ([0.0_f32; 64], [0.0_f32; 32], [0; 8]);
    let mut cache = PagedCache::new(shape, &mut k, &mut v, &mut counts).unwrap();
    let mut tables = [[0; 3]; 2];
    let [one, two] = &mut tables;
    let (mut one, mut two) = (Pages::new(one), Pages::new(two));
    for i in [0, 1, 2, 7] {
        let (x, pages) = ([i as f32; 4], if i == 7 { &mut two } else { &mut one });
        let view = |dim| View::packed(&x, [1, 1, 1, dim]).unwrap();
        cache.append(pages, view(4), view(2)).unwrap();
    }
    let sequences = [&one, &two];
    let read = cache.read(&sequences);
    for (lens, first) in [([1, 3], 0.0), ([2, 1], 0.5), ([3, 3], 1.0)] {
        let shape = Shape { batch: 2, q_len: 1, kv_len: 3, heads: HEADS };
        let attention = Attention::new(shape, Mask::full()).unwrap();
        let (q, mut o, mut scratch) = ([0.0; 16], [9.0; 8], vec![0.0; attention.scratch_len()]);
        let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), &read);
        attention.bind(inputs.kv_lens(&lens[..]), outputs, &mut scratch).unwrap().run();
        assert_eq!((o[0], o[4]), (first, 7.0), "{lens:?}");
    }
}

#[test]
fn what_is_not_finite_is_kept_refused_or_saturated_but_never_lost() {
    let heads = Heads { dim: 2, ..HEADS };
    let shape = CacheShape::new(heads, 2);
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let token = [x, 1.0];
        let view = View::packed(&token, [1, 1, 1, 2]).unwrap();
        let read = |cache: &dyn Cached| {
            let shape = Shape { batch: 1, q_len: 1, kv_len: 1, heads };
            let attention = Attention::new(shape, Mask::full()).unwrap();
            let (mut o, mut scratch) = ([7.0; 4], vec![0.0; attention.scratch_len()]);
            let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
            let inputs = Inputs::cached(View::packed(&[0.0; 4], shape.q()).unwrap(), cache);
            attention.bind(inputs, outputs, &mut scratch).unwrap().run();
            o[0]
        };
        let zeros = View::packed(&[0.0; 2], [1, 1, 1, 2]).unwrap();
        for overflow in [Overflow::Saturate, Overflow::Special] {
            let (mut k, mut v) = ([E4m3::default(); 4], [E5m2::default(); 4]);
            let cache = KvCache::new(shape, &mut k, &mut v).unwrap();
            let mut cache = cache.overflow(overflow);
            cache.append(zeros, view).unwrap();
            match (x.is_nan(), overflow) {
                (true, _) => assert!(read(&cache).is_nan()),
                (_, Overflow::Saturate) => assert_eq!(read(&cache), E5m2::MAX.copysign(x)),
                (_, Overflow::Special) => assert!(!read(&cache).is_finite()),
            }
        }
        let (mut k, mut v, mut scales) = ([0_i8; 4], [0_i8; 4], [0.0; 2]);
        let cache = KvCache::new(shape, &mut k, &mut v).unwrap();
        let by_token = Scales::ByToken(&mut scales);
        let given = Scales::Given(Given { scales: &[0.5], zeros: &[] });
        let mut cache = cache.scales(given, by_token).unwrap();
        cache.append(zeros, view).unwrap();
        assert!(read(&cache).is_nan());
        let result = cache.append(view, zeros);
        if x.is_nan() {
            assert_eq!(result, Err(Error::NotFinite { tensor: Tensor::K, at: [0, 0, 0, 0] }));
            assert_eq!(cache.len(), 1);
        }
    }
}

#[test]
fn numbers_whose_scale_is_subnormal_stay_finite_and_near() {
    fn kept<F: flashlet::Format>(x: f32) -> f32 {
        let heads = Heads { q: 1, kv: 1, dim: 1, v_dim: 1 };
        let shape = CacheShape::new(heads, 1);
        let (mut k, mut v) = ([F::default()], [F::default()]);
        let (mut k_scale, mut v_scale) = ([0.0], [0.0]);
        let cache = KvCache::new(shape, &mut k, &mut v).unwrap().overflow(Overflow::Special);
        let (k_scale, v_scale) = (Scales::ByToken(&mut k_scale), Scales::ByToken(&mut v_scale));
        let mut cache = cache.scales(k_scale, v_scale).unwrap();
        let token = [x];
        let view = View::packed(&token, [1, 1, 1, 1]).unwrap();
        cache.append(view, view).unwrap();
        let mut row = [0.0];
        Cached::load(&cache, Side::Keys, [0, 0], 0..1, &mut row).unwrap();
        row[0]
    }
    // Up to many times the least number: what is kept errs by half a scale at most, or by that of an eighth.
    for n in (1..200_000).step_by(37) {
        let x = f32::from_bits(n);
        let errors = [kept::<i8>(x), kept::<E4m3>(x), kept::<E5m2>(x)].map(|y| (y - x).abs());
        assert!(errors[0] <= x / 254.0 + f32::from_bits(1), "{n}: {errors:?}");
        assert!(errors[1] <= x / 16.0 + f32::from_bits(1), "{n}: {errors:?}");
        assert!(errors[2] <= x / 8.0 + f32::from_bits(1), "{n}: {errors:?}");
    }
}

#[test]
fn tokens_behind_evicted_ones_in_their_block_are_kept() {
    let shape = CacheShape::paged(HEADS, 4, 2);
    let (mut k, mut v, mut counts) = ([f32::NAN; 32], [f32::NAN; 16], [0; 4]);
    let mut cache = PagedCache::new(shape, &mut k, &mut v, &mut counts).unwrap();
    let (mut table, x) = ([0; 4], [3.5; 16]);
    let mut pages = Pages::new(&mut table);
    let view = |n, dim| View::packed(&x, [1, n, 1, dim]).unwrap();
    cache.append(&mut pages, view(4, 4), view(4, 2)).unwrap();
    assert_eq!(cache.evict(&mut pages, 0, 4), Ok(2));
    cache.truncate(&mut pages, 1).unwrap();
    cache.append(&mut pages, view(1, 4), view(1, 2)).unwrap();
    assert_eq!((pages.len(), cache.free_blocks()), (4, 3));
    let (sequences, mut row) = ([&pages], [0.0; 4]);
    let read = cache.read(&sequences);
    Cached::load(&read, Side::Keys, [0, 0], 3..4, &mut row).unwrap();
    assert_eq!(row, [3.5; 4]);
    let causal = Mask::causal(Offset::BOTTOM_RIGHT);
    assert_eq!(attend(&read, causal), Err(Error::Evicted { start: 0, end: 3 }));
    assert_eq!(attend(&read, causal & flashlet::Window::keys(1)), Ok([3.5; 4]));
}
