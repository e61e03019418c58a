//! Values on the command line: sizes, durations, modes, users, paths.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, StringValueParser, TypedValueParser};
use fundu::{CustomDurationParserBuilder, CustomTimeUnit, TimeUnit};
use parse_size::Config;

/// A path that is not empty.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.is_empty() {
        true => Err("the path is empty"),
        false => Ok(PathBuf::from(text)),
    })
}

/// A number of bytes: `65536`, `4K`, `64m`, `1.5M`, `4KiB` by 1024, `4kB` by 1000.
pub(crate) fn size(text: &str) -> Result<u64, &'static str> {
    let lower = text.trim_end().to_ascii_lowercase();
    let by_1000 = lower.ends_with('b') && !lower.ends_with("ib");
    let config = if by_1000 {
        Config::new().with_decimal()
    } else {
        Config::new().with_binary()
    };
    config.parse_size(text).map_err(|error| match error {
        parse_size::Error::PosOverflow => "more than 64 bits hold",
        _ => {
            "expected bytes, such as 65536, 64K, 1.5M or 64KiB (K and KiB are 1024), or 64kB (1000)"
        }
    })
}

pub(super) fn positive_size(text: &str) -> Result<usize, &'static str> {
    match usize::try_from(size(text)?) {
        Ok(0) => Err("at least 1 byte"),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("more than an address space holds"),
    }
}

/// The capacity of a ring, which the library bounds.
pub(super) fn capacity(text: &str) -> Result<usize, &'static str> {
    match positive_size(text)? {
        bytes if bytes > 1 << 61 => Err("at most 2E (2^61 bytes)"),
        bytes => Ok(bytes),
    }
}

/// A whole number of at least `least`, and of at most `most`, if there is such a limit.
pub(super) fn number<T>(least: T, most: Option<T>) -> impl TypedValueParser<Value = T>
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    StringValueParser::new().try_map(move |text| match text.parse::<T>() {
        Ok(number) if number >= least && most.iter().all(|most| number <= *most) => Ok(number),
        _ => Err(match &most {
            Some(most) => format!("expected a whole number from {least} to {most}"),
            None => format!("expected a whole number of at least {least}"),
        }),
    })
}

/// A time: `100us`, `500ms`, `1.5s`, `1m30s`, `1h`, `1d`. A bare number is seconds. `inf`, or a
/// time too long for a clock, is no limit.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    let units = [
        (TimeUnit::MicroSecond, "us"),
        (TimeUnit::MilliSecond, "ms"),
        (TimeUnit::Second, "s"),
        (TimeUnit::Minute, "m"),
        (TimeUnit::Hour, "h"),
        (TimeUnit::Day, "d"),
    ];
    let names = units.map(|(_, name)| [name]);
    let parser = || {
        let units = units.iter().zip(&names);
        units.fold(
            CustomDurationParserBuilder::new(),
            |parser, ((unit, _), name)| parser.time_unit(CustomTimeUnit::with_default(*unit, name)),
        )
    };
    // `1.5 h` has a blank, and `1m30s` parts.
    let time = parser().allow_time_unit_delimiter().build().parse(text);
    let is_parts = !text.contains('.') && text.ends_with(|last: char| last.is_ascii_alphabetic());
    let time = match is_parts {
        true => time.or_else(|_| parser().parse_multiple(None).build().parse(text)),
        false => time,
    };
    time.ok()
        .and_then(|time| time.try_into().ok())
        .ok_or("expected a time, such as 100us, 500ms, 1m30s, 1h or 1d; a bare number is seconds")
}

/// A time that is not 0, between two screens.
pub(super) fn interval(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        time if time < Duration::from_millis(50) => Err("at least 50ms"),
        time => Ok(time.min(Duration::from_secs(86400))),
    }
}

/// Permission bits in octal: `660`, `0660`.
pub(super) fn mode(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(bits) if bits <= 0o777 && bits & 0o600 == 0o600 => Ok(bits),
        _ => Err("expected permission bits in octal with at least 600, such as 660"),
    }
}

/// The number that stands for no user in calls of the kernel.
const NO_USER: u32 = u32::MAX;

/// A user by name or by number.
pub(super) fn user(text: &str) -> Result<u32, String> {
    match (text.parse(), uzers::get_user_by_name(text)) {
        (_, Some(user)) => Ok(user.uid()),
        (Ok(uid), None) if uid != NO_USER => Ok(uid),
        (_, None) => Err("there is no such user".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        for (text, bytes) in [
            ("4K", 4096),
            ("4k", 4096),
            ("4Ki", 4096),
            ("4KiB", 4096),
            ("4kib", 4096),
            ("4kB", 4000),
            ("4KB", 4000),
            ("64m", 64 << 20),
            ("1.5M", 3 << 19),
            ("1.5MiB", 3 << 19),
            ("3 GiB", 3 << 30),
            ("1T", 1 << 40),
            ("7B", 7),
            ("18446744073709551615", u64::MAX), // not rounded
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KiB", "-1", "4XiB", "0x10", "inf", "K"] {
            let error = size(wrong).unwrap_err();
            assert!(error.contains("K and KiB are 1024"), "{wrong}: {error}");
        }
        for large in ["18446744073709551616", "16777216TiB"] {
            assert_eq!(size(large), Err("more than 64 bits hold"));
        }
        assert_eq!((capacity("2E"), capacity("1T")), (Ok(1 << 61), Ok(1 << 40)));
        assert!(capacity("2305843009213693953").is_err() && capacity("0").is_err());
    }

    #[test]
    fn durations() {
        for (text, micros) in [
            ("100us", 100),
            ("500ms", 500_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1m30s", 90_000_000),
            ("1h30m", 5_400_000_000),
            ("1.5 h", 5_400_000_000),
            ("1d", 86_400_000_000),
            // Scripts give bare seconds.
            ("7", 7_000_000),
            ("0.25", 250_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for endless in ["inf", "99999999999999999999h"] {
            assert_eq!(duration(endless), Ok(Duration::MAX));
        }
        for wrong in [
            "", "s", "-1s", "nan", "1.2.3s", "1m5", "1.2m3s", "5x", "5M", "5Ms", "soon",
        ] {
            let error = duration(wrong).unwrap_err();
            assert!(error.contains("bare number is seconds"), "{wrong}: {error}");
        }
    }

    #[test]
    fn modes_and_users() {
        assert_eq!((mode("660"), mode("0600")), (Ok(0o660), Ok(0o600)));
        for wrong in ["", "7", "1660", "66", "rw", "-660", "888"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
        assert_eq!((user("root"), user("54321")), (Ok(0), Ok(54321)));
        for wrong in ["no such user", "", "-1", "4294967295", "4294967296"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
    }
}
