//! Tables for people.

use super::{Flash, Plan};
use crate::render::thousands;
use crate::table::table;

/// Where the memory of a plan goes, line by line.
#[must_use]
pub fn sram_table(plan: &Plan) -> String {
    let mut table = table(["SRAM", "what", "bytes"], 2..3);
    for part in &plan.memory.parts {
        table.add_row([part.name.to_owned(), part.what.clone(), thousands(part.bytes as u64)]);
    }
    let total = plan.memory.total();
    let mut add = |name: &str, what: String, bytes: usize| {
        table.add_row([name.to_owned(), what, thousands(bytes as u64)]);
    };
    add("total", "weights excluded".to_owned(), total);
    add("left", format!("of {}", thousands(plan.sram as u64)), plan.sram.saturating_sub(total));
    table.trim_fmt() + "\n"
}

/// Where the memory of the program goes.
#[must_use]
pub fn flash_table(flash: &Flash, given: Option<usize>) -> String {
    let mut table = table(["flash", "bytes"], 1..2);
    for (name, bytes) in &flash.parts {
        table.add_row([name.clone(), thousands(*bytes as u64)]);
    }
    table.add_row(["total".to_owned(), thousands(flash.total() as u64)]);
    if let Some(given) = given {
        let left = given.saturating_sub(flash.total());
        table.add_row([format!("left of {}", thousands(given as u64)), thousands(left as u64)]);
    }
    table.trim_fmt() + "\n"
}
