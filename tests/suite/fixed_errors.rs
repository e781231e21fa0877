//! What attention in integers refuses, by name and number.

use flashlet::fixed::{Factor, Plan, State};
use flashlet::{Error, Heads, Tensor, View, ViewMut};

#[test]
fn what_disagrees_is_refused_and_named() {
    let heads = Heads { q: 4, kv: 2, dim: 3, v_dim: 5 };
    let factor = Factor::new(0.01).unwrap();
    let plan = Plan::<i8>::new(heads, factor).unwrap();
    let refused = |heads| Plan::<i8>::new(heads, factor).map(|_| ()).unwrap_err();
    assert_eq!(refused(Heads { kv: 0, ..heads }), Error::ZeroHeads { q_heads: 4, kv_heads: 0 });
    assert_eq!(refused(Heads { kv: 3, ..heads }), Error::HeadGroups { q_heads: 4, kv_heads: 3 });
    assert_eq!(refused(Heads { dim: 577, ..heads }), Error::HeadDim { head_dim: 577, max: 576 });
    assert_eq!(refused(Heads { v_dim: 0, ..heads }), Error::ValueDim { v_dim: 0, max: 576 });
    // 576 products of 2^30 are 2^39.2: a logit of 2^30 is reached with 2^-9.2.
    let wide = Heads::new(1, 1, 576);
    let [fits, not] = [0.9, 1.1].map(|x: f32| x * (-9.17_f32).exp2() / std::f32::consts::LOG2_E);
    assert!(Plan::<i16>::new(wide, Factor::new(fits).unwrap()).is_ok());
    let error = Plan::<i16>::new(wide, Factor::new(not).unwrap()).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Logits { head_dim: 576, scale_bits: not.to_bits() });

    let mut words = [0; 4 * 7];
    let short = State::empty(&mut words[..27], heads).map(|_| ()).unwrap_err();
    assert_eq!(short, Error::Length { tensor: Tensor::State, needed: 28, given: 27 });
    let none = State::empty(&mut [], Heads { q: 0, ..heads }).map(|_| ()).unwrap_err();
    assert_eq!(none, Error::ZeroHeads { q_heads: 0, kv_heads: 2 });

    let codes = [1_i8; 90];
    let view = |dims| View::packed(&codes, dims).unwrap();
    let (q, k, v) = ([1, 1, 4, 3], [1, 6, 2, 3], [1, 6, 2, 5]);
    let mut state = State::empty(&mut words, heads).unwrap();
    let mut absorb = |[q, k, v]: [[usize; 4]; 3], scratch: usize| {
        let mut scratch = vec![0; scratch];
        let refused = plan.absorb(&mut state, view(q), [view(k), view(v)], &mut scratch);
        // Nothing has been seen, and so nothing is there.
        let mut o = [1; 20];
        state.finish(ViewMut::packed(&mut o, [1, 1, 4, 5]).unwrap(), None).unwrap();
        assert!(refused.is_ok() || o == [0; 20]);
        refused
    };
    let shape = |tensor, expected, given| Err(Error::Shape { tensor, expected, given });
    let needed = plan.scratch_len();
    assert_eq!(needed, 4 * 3 + 5);
    assert_eq!(absorb([[1, 2, 4, 3], k, v], needed), shape(Tensor::Q, q, [1, 2, 4, 3]));
    assert_eq!(absorb([q, [2, 6, 2, 3], v], needed), shape(Tensor::K, k, [2, 6, 2, 3]));
    assert_eq!(absorb([q, k, [1, 5, 2, 5]], needed), shape(Tensor::V, v, [1, 5, 2, 5]));
    assert_eq!(absorb([q, k, v], 16), Err(Error::Scratch { needed, given: 16 }));
    assert_eq!(absorb([q, k, v], needed), Ok(()));

    let other = Heads { v_dim: 4, ..heads };
    let mut words = [0; 4 * 6];
    let mut narrow = State::empty(&mut words, other).unwrap();
    let (expected, given) = ([1, 1, 4, 5], [1, 1, 4, 4]);
    let refused = plan.absorb(&mut narrow, view(q), [view(k), view(v)], &mut [0; 17]);
    assert_eq!(refused, shape(Tensor::State, expected, given));
    assert_eq!(state.merge(&narrow), shape(Tensor::State, expected, given));
    let o = &mut [0; 16];
    let refused = state.finish(ViewMut::packed(o, given).unwrap(), None);
    assert_eq!(refused, shape(Tensor::O, expected, given));
    let o = &mut [0; 20];
    let refused = state.finish(ViewMut::packed(o, expected).unwrap(), Some(&mut [0; 3]));
    assert_eq!(refused, Err(Error::Length { tensor: Tensor::Lse, needed: 4, given: 3 }));
    assert_eq!(*o, [0; 20]);
}
