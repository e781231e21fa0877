//! Sizes as command lines have them.

/// `128K` as bytes: a whole number, of KiB with `K`, of MiB with `M`.
///
/// # Errors
/// What is wrong with it.
pub fn bytes(text: &str) -> Result<usize, String> {
    let unit = match text.chars().last() {
        Some('K' | 'k') => 1024,
        Some('M' | 'm') => 1024 * 1024,
        Some('0'..='9') => 1,
        Some(other) => return Err(format!("`{other}` is no unit: 131072, 128K or 1M")),
        None => return Err("nothing: 131072, 128K or 1M".to_owned()),
    };
    let digits = if unit == 1 { text } else { &text[..text.len() - 1] };
    if digits.is_empty() || digits.contains(|c: char| !c.is_ascii_digit()) {
        return Err(format!("`{digits}` is no whole number: 131072, 128K or 1M"));
    }
    let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match number.filter(|bytes| u32::try_from(*bytes).is_ok()) {
        Some(0) => Err("no memory at all".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("{text} is beyond addresses of 32 bits")),
    }
}
