//! What errors say.

use flashlet::{Error, Family, Knob, Level, List, Rule, Tensor};
use std::collections::HashSet;

#[test]
fn every_error_is_a_sentence_with_its_numbers() {
    let (tensor, list) = (Tensor::Beta, List::Chunks);
    let bits = 0.25_f64.to_bits();
    for (error, parts) in [
        (Error::ZeroHeads { q_heads: 7, kv_heads: 0 }, vec!["7", "0"]),
        (Error::HeadGroups { q_heads: 9, kv_heads: 4 }, vec!["9", "4"]),
        (Error::HeadDim { head_dim: 600, max: 576 }, vec!["600", "576"]),
        (Error::ValueDim { v_dim: 600, max: 576 }, vec!["600", "576"]),
        (Error::EntryDims { expected: [64, 32], given: [8, 6] }, vec!["[64, 32]", "[8, 6]"]),
        (Error::PlainEntry, vec!["plain"]),
        (Error::Offset, vec!["Mask::window"]),
        (Error::Overflow { dims: [9, 8, 7, 6] }, vec!["[9, 8, 7, 6]"]),
        (Error::TooShort { needed: 24, given: 23 }, vec!["24", "23"]),
        (Error::Overlap { stride: 3, extent: 4 }, vec!["3", "4"]),
        (
            Error::Shape { tensor, expected: [1, 2, 3, 4], given: [4, 3, 2, 1] },
            vec!["beta", "[1, 2, 3, 4]", "[4, 3, 2, 1]"],
        ),
        (Error::Length { tensor: Tensor::Lse, needed: 12, given: 13 }, vec!["lse", "12", "13"]),
        (Error::KvLens { batch: 4, given: 2 }, vec!["4", "2"]),
        (Error::KvLen { sequence: 1, visible: 11, kv_len: 10 }, vec!["1", "11", "10"]),
        (Error::KeyRange { start: 7, end: 3, kv_len: 10 }, vec!["7..3", "10"]),
        (Error::Scratch { needed: 100, given: 99 }, vec!["100", "99"]),
        (Error::Level { level: Level::Avx512 }, vec!["avx512"]),
        (Error::Order { list, index: 5, before: 8, value: 7 }, vec!["chunk", "5", "8", "7"]),
        (Error::Entry { list, index: 5, value: 7, limit: 6 }, vec!["chunk", "5", "7", "6"]),
        (Error::ListLength { list, needed: 12, given: 13 }, vec!["chunk", "12", "13"]),
        (Error::ZeroBlock { list }, vec!["chunk", "0"]),
        (Error::Cap { cap_bits: bits }, vec!["0.25"]),
        (Error::Temperature { step: 12, scale_bits: bits }, vec!["12", "0.25"]),
        (Error::NotFinite { tensor, at: [1, 2, 3, 4] }, vec!["beta", "[1, 2, 3, 4]"]),
        (Error::Theta { knob: Knob::Mscale, bits }, vec!["mscale", "0.25"]),
        (Error::RotDim { pairs: 289, max: 288 }, vec!["289", "288"]),
        (Error::OddPairs { pairs: 5 }, vec!["5"]),
        (Error::Rotary { first: 4, rot_dim: 8, head_dim: 11 }, vec!["4", "8", "11"]),
        (Error::Tokens { expected: [1, 3], given: [1, 2] }, vec!["[1, 3]", "[1, 2]"]),
        (Error::Position { position: 9, start: 2, end: 8 }, vec!["9", "2..8"]),
        (Error::Axes { axes: 3 }, vec!["3"]),
        (Error::LinearHeads { q: 3, k: 4, v: 5 }, vec!["3", "4", "5"]),
        (Error::Missing { tensor }, vec!["beta", "not given"]),
        (Error::Unwanted { tensor }, vec!["beta", "of no use"]),
        (
            Error::EntryFamily { expected: Family::RWKV6, given: Family::LINEAR },
            vec!["Bonus", "Never"],
        ),
        (Error::Normalised { rule: Rule::Delta }, vec!["Delta"]),
        (Error::Epsilon { bits: 0.5_f32.to_bits() }, vec!["0.5"]),
        (Error::Rollback { back: 3, held: 2 }, vec!["3", "2"]),
        (Error::Rounded { token: 12, oldest: 17 }, vec!["12", "17"]),
        (Error::Channels { dim: 40, block: 32 }, vec!["40", "32"]),
        (Error::Capacity { needed: 12, given: 11 }, vec!["12", "11"]),
        (Error::Evicted { start: 1, end: 3 }, vec!["1..3"]),
        (Error::BlockTwice { block: 17 }, vec!["17"]),
        (Error::Gates { knob: Knob::LeastGate, bits: 0.5_f32.to_bits() }, vec!["gate", "0.5"]),
        (Error::Factor { scale_bits: 0.5_f32.to_bits() }, vec!["5e-1"]),
        (Error::Logits { head_dim: 80, scale_bits: 0.5_f32.to_bits() }, vec!["80", "5e-1"]),
        (Error::Layer { layer: 28, layers: 27 }, vec!["28", "27"]),
        (Error::Row { row: [1, 2, 3], limits: [4, 5, 6] }, vec!["[1, 2, 3]", "[4, 5, 6]"]),
        (Error::Part { index: 2, parts: 2 }, vec!["2"]),
    ] {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn no_two_tensors_lists_or_knobs_have_the_same_name() {
    use Tensor as T;
    let tensors = [
        T::Q,
        T::K,
        T::V,
        T::O,
        T::Lse,
        T::State,
        T::Sinks,
        T::Slopes,
        T::Bias,
        T::Weights,
        T::RelativeKeys,
        T::RelativeValues,
        T::Turned,
        T::Learned,
        T::Embeddings,
        T::Decay,
        T::Gates,
        T::Beta,
        T::Bonus,
        T::LowRankA,
        T::LowRankB,
        T::Normaliser,
        T::Condition,
        T::RawBeta,
        T::Steps,
        T::StepBias,
        T::LowerBounds,
        T::X,
        T::Skip,
        T::Z,
        T::Scales,
        T::Newest,
        T::Zeros,
        T::Counts,
    ];
    use List as L;
    let lists = [
        L::Globals,
        L::QueryEnds,
        L::KeyEnds,
        L::BlockRows,
        L::BlockHeads,
        L::BlockColumns,
        L::RandomBlocks,
        L::TableQueries,
        L::TableKeys,
        L::TableCells,
        L::Chunks,
        L::Dilation,
        L::Positions,
        L::Starts,
        L::Slots,
        L::PairAxes,
        L::Sections,
        L::PairFactors,
        L::Blocks,
        L::BlockTable,
        L::Groups,
    ];
    use Knob as N;
    let knobs = [
        N::ThetaBase,
        N::Factor,
        N::OriginalLen,
        N::BetaFast,
        N::BetaSlow,
        N::LowFreqFactor,
        N::HighFreqFactor,
        N::AttentionFactor,
        N::Mscale,
        N::PairFactor,
        N::LeastStep,
        N::MostStep,
        N::LowerBound,
        N::Normaliser,
        N::LeastGate,
    ];
    let count = tensors.len() + lists.len() + knobs.len();
    let tensors = tensors.iter().map(ToString::to_string);
    let lists = lists.iter().map(ToString::to_string);
    let names: HashSet<String> =
        tensors.chain(lists).chain(knobs.iter().map(ToString::to_string)).collect();
    assert_eq!(names.len(), count);
}
