//! Numbers as people read them.

use std::time::Duration;

/// A number of bytes in at most five characters, by 1024: `0`, `1023`, `4K`, `1.5G`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or('K');
    while value >= 1023.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    if (value * 10.0).round() % 10.0 == 0.0 || value >= 9.95 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// A time since something, in the largest unit that gives at least one: `59s`, `3h`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// A time as a clock shows it: `0:07`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A bar of `width` characters, of which `part` of `whole` are filled.
pub(crate) fn bar(part: u64, whole: u64, width: usize) -> String {
    let inner = width.saturating_sub(2);
    let filled = match whole {
        0 => 0,
        whole => (part.min(whole) as u128 * inner as u128).div_ceil(whole as u128) as usize,
    };
    // The bar is full only if `part` equals `whole`.
    let filled = if part < whole {
        filled.min(inner.saturating_sub(1))
    } else {
        filled
    };
    format!("[{}{}]", "#".repeat(filled), ".".repeat(inner - filled))
}

/// `part` of `whole` in percent, at most 100.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 0,
        whole => (u128::from(part.min(whole)) * 100 / u128::from(whole)) as u64, // at most 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_at_most_five_characters() {
        for (number, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.5K"),
            (65536, "64K"),
            ((1 << 20) - 1, "1M"),
            (1 << 40, "1T"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, (1 << shift) / 3 * 4] {
                assert!(bytes(number).len() <= 5, "{}", bytes(number));
            }
        }
    }

    #[test]
    fn a_bar_is_full_only_if_all_is() {
        assert_eq!(bar(0, 10, 6), "[....]");
        assert_eq!(bar(1, 1000, 6), "[#...]");
        assert_eq!(bar(999, 1000, 6), "[###.]");
        assert_eq!(bar(10, 10, 6), "[####]");
        assert_eq!(bar(3, 0, 6), "[....]");
        assert_eq!((bar(1, 2, 2), bar(1, 2, 0)), ("[]".into(), "[]".into()));
    }

    #[test]
    fn times() {
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(clock(Duration::from_secs(67)), "1:07");
        assert_eq!(age(Duration::from_secs(7200)), "2h");
        assert_eq!(percent(1, 3), 33);
    }
}
