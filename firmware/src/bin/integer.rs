//! The case of that name alone.
#![no_std]
#![no_main]

firmware::program!(check::device::Integer);
