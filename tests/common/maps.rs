//! What this process has mapped.
#![allow(dead_code)] // each test binary uses a part

use std::fs;
use std::ops::Range;

/// What `of` makes of each mapping of this process, in order: of its addresses,
/// and of the rest of its line in `/proc/self/maps`. Keeps nothing else.
pub(crate) fn mappings<T>(mut of: impl FnMut(Range<usize>, &str) -> T) -> Vec<T> {
    let mut parse = |line: &str| {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        Some(of(hex(from)?..hex(to)?, rest))
    };
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().map(|line| parse(line).unwrap()).collect()
}

/// Where this process has segments attached, in order.
pub(crate) fn attachments() -> Vec<Range<usize>> {
    let of_segment = |range, rest: &str| rest.contains("/SYSV").then_some(range);
    mappings(of_segment).into_iter().flatten().collect()
}
