//! The generator of flashlet's specialised kernels. Data flow from top to bottom:
//!
//! ```text
//! manifest   the head sizes worth an entry, and the models that want them: facts, one line each
//! spec       a model as a preset says it, checked
//! tiles      the tiles that are measured to be better than the rule's: tiles.toml
//! plan       a head size x a level -> two entries: tile, registers, scratch, name
//! render     entries -> the text of src/generated.rs and src/generated/
//! package    a model -> the text of a crate of its own, and of the program that tries it
//! tree       text against files: write what differs, or say what is stale
//! device     a model on a device -> what of its memory goes where, or why it does not fit
//! compile    cargo, with a progress bar
//! text       the bytes of machine code of each entry in a compiled program or library
//! list       every entry, and what it takes
//! table      what was measured; tables for people, and JSON lines
//! map        a picture of where one head looks
//! angles     how far cosines and sines of rotary positions are off, and a picture of it
//! stress     what makes attention lose digits, and a picture of it
//! build      all of it in turn for one preset
//! tune       which tiles are the fastest here
//! ```
//! Up to `package` nothing here reads or writes a file.

pub mod angles;
pub mod build;
pub mod compile;
pub mod device;
pub mod list;
pub mod manifest;
pub mod map;
pub mod package;
pub mod plan;
pub mod render;
pub mod spec;
pub mod stress;
pub mod table;
pub mod text;
pub mod tiles;
pub mod tree;
pub mod tune;
