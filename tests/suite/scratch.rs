//! Scratch that is known when compiling.

use flashlet::entry::Entry;
use flashlet::{Heads, Level};

#[test]
fn scratch_of_heads_is_enough_for_every_entry_generic_or_generated() {
    const HERE: usize = Heads::new(4, 2, 64).scratch_len(Level::Avx512);
    assert_eq!(HERE, Heads::new(4, 2, 64).scratch_len(Level::Avx512), "the same when running");
    for level in Level::ALL {
        let generated = Entry::generated(level).iter().map(|pair| pair[0].dims().unwrap());
        for [dim, v_dim] in generated.chain([[1, 1], [48, 48], [65, 3], [576, 512]]) {
            let heads = Heads { q: 4, kv: 2, dim, v_dim };
            let generated = Entry::generated(level).iter().filter(|pair| pair[0].fits(heads));
            let pairs = Entry::generated_pairs(level).iter().filter(|entry| entry.fits(heads));
            let generated = generated.flatten().chain(pairs).copied();
            for entry in generated.chain(Entry::generic(level, heads)) {
                let name = entry.name();
                assert!(entry.scratch_len(heads) <= heads.scratch_len(level), "{name}");
                let (one, all) =
                    (entry.scratch_len_in_place(heads), heads.scratch_len_in_place(level));
                assert!(one <= all, "{name}: {one}, {all}");
            }
        }
    }
}

#[test]
fn bf16_pairs_are_copied_whatever_they_are_stored_as() {
    for entry in Level::ALL.into_iter().flat_map(Entry::generated_pairs) {
        let heads = entry.dims().map(|[dim, v_dim]| Heads { q: 4, kv: 2, dim, v_dim }).unwrap();
        let name = entry.name();
        assert_eq!(entry.scratch_len_in_place(heads), entry.scratch_len(heads), "{name}");
    }
}
