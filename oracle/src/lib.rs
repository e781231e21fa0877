//! f64 reference attention.
