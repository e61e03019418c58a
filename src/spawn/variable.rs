//! The environment variable that tells a child which ends it gets.
//!
//! The value is a list: `id:nonce:role` or `id:nonce:role:name`, separated by commas. These are the
//! segment's id, the ring's nonce in 16 hexadecimal digits, the child's role, and the name of the
//! end. The nonce tells the ring from a later one with the same id. An entry whose end this process
//! has taken begins with `-` in place of the id's first digit.

use std::ffi::CStr;
use std::fmt;

use crate::error::OpenError;
use crate::role::Role;
use crate::sys::environment;
use crate::sys::sysv::SegmentId;

/// The environment variable.
pub(super) const VARIABLE: &CStr = c"SHMPIPE_RING";

/// Bytes of the longest name of an end.
const LONGEST_NAME: usize = 64;

/// The first byte of the entry of an end that was taken.
const TAKEN: u8 = b'-';

/// One end in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: SegmentId,
    pub(super) nonce: u64,
    /// The child's role.
    pub(super) role: Role,
    /// Empty for an end without a name.
    pub(super) name: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}:{}", self.id, self.nonce, self.role)?;
        match self.name.as_str() {
            "" => Ok(()),
            name => write!(f, ":{name}"),
        }
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        let mut parts = text.split(':');
        let (id, nonce, role) = (parts.next()?, parts.next()?, parts.next()?);
        let name = parts.next();
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.next().is_some()
            || nonce.len() != 16
            || !digits(nonce)
            || !digits(id)
            || !name.is_none_or(is_name)
        {
            return None;
        }
        Some(Entry {
            id: id.parse().ok()?,
            nonce: u64::from_str_radix(nonce, 16).ok()?,
            role: role.parse().ok()?,
            name: name.unwrap_or_default().to_owned(),
        })
    }
}

/// Whether an end can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// The ends that a parent gave to this process, and that this process has not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// Each entry, with its offset in the value.
    entries: Vec<(usize, Entry)>,
}

impl Given {
    /// Reads what the parent of this process has set.
    pub(super) fn from_environment() -> Result<Given, OpenError> {
        let value = environment::variable(VARIABLE).ok_or(OpenError::NotHandedOver)?;
        match value.to_str().and_then(Given::parse) {
            Some(given) => Ok(given),
            None => Err(OpenError::BadHandover { value }),
        }
    }

    fn parse(value: &str) -> Option<Given> {
        let mut entries = Vec::new();
        let mut offset = 0;
        for text in value.split(',') {
            if text.as_bytes().first() != Some(&TAKEN) {
                entries.push((offset, Entry::parse(text)?));
            }
            offset += text.len() + 1;
        }
        Some(Given { entries })
    }

    /// The entry of the end `name` for the role `asked`.
    pub(super) fn find(&self, asked: Role, name: &str) -> Result<&(usize, Entry), OpenError> {
        let named = || self.entries.iter().filter(|(_, entry)| entry.name == name);
        if let Some(found) = named().find(|(_, entry)| entry.role == asked) {
            return Ok(found);
        }
        Err(match named().next() {
            Some(_) => OpenError::WrongRole {
                given: asked.peer(),
                asked,
            },
            None if name.is_empty() => OpenError::NotHandedOver,
            None => OpenError::NoSuchEnd {
                name: name.to_owned(),
            },
        })
    }
}

/// Notes in the environment that this process has taken the end whose entry is at `offset`. After
/// the last end, the variable is gone. The byte is stored through a pipe. If no pipe can be made,
/// the variable stays as it was. A process that reads the entry then finds the role taken.
pub(super) fn strike(offset: usize) {
    let struck = environment::strike(VARIABLE, offset, TAKEN);
    if struck.is_ok() && Given::from_environment().is_ok_and(|given| given.entries.is_empty()) {
        let _ = environment::hide(VARIABLE); // an entry that was taken is of no use to anybody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, role: Role, name: &str) -> Entry {
        Entry {
            id: id.parse().unwrap(),
            nonce: 0xab,
            role,
            name: name.to_owned(),
        }
    }

    #[test]
    fn parses_what_it_displays() {
        for (id, role, name, end) in [
            ("0", Role::Producer, "", ""),
            ("2147483647", Role::Consumer, "a-b_C.9", ":a-b_C.9"),
        ] {
            let entry = entry(id, role, name);
            let value = entry.to_string();
            assert_eq!(value, format!("{id}:00000000000000ab:{role}{end}"));
            assert_eq!(Entry::parse(&value), Some(entry));
        }
    }

    #[test]
    fn a_list_has_what_is_not_taken() {
        let value = "-2:00000000000000ab:producer,13:00000000000000ab:consumer,\
                     7:00000000000000ab:producer:x";
        let given = Given::parse(value).unwrap();
        let second = (29, entry("13", Role::Consumer, ""));
        let third = (58, entry("7", Role::Producer, "x"));
        assert_eq!(given.entries, [second.clone(), third.clone()]);
        assert_eq!(given.find(Role::Consumer, "").unwrap(), &second);
        assert_eq!(given.find(Role::Producer, "x").unwrap(), &third);
        let refused = |role, name| given.find(role, name).unwrap_err().to_string();
        assert!(refused(Role::Producer, "").contains("consumer's end"));
        assert!(refused(Role::Consumer, "x").contains("producer's end"));
        assert!(refused(Role::Consumer, "y").contains("`y`"));
        let taken = Given::parse("-2:00000000000000ab:producer").unwrap();
        let none = taken.find(Role::Producer, "").unwrap_err();
        assert!(matches!(none, OpenError::NotHandedOver));
    }

    #[test]
    fn refuses_other_values() {
        let long = format!("1:00000000000000ab:producer:{}", "x".repeat(65));
        for value in [
            "",
            ":",
            "::",
            "1",
            "1:00000000000000ab",
            "1:00000000000000ab:",
            "1:00000000000000ab:Producer",
            "1:00000000000000ab:producer:",
            "1:00000000000000ab:producer ",
            "1:00000000000000ab:producer:a:",
            "1:00000000000000ab:producer:a b",
            "1:00000000000000ab:producer:\u{e4}",
            "1:00000000000000ab:producer,",
            ",1:00000000000000ab:producer",
            "1:00000000000000ab:producer,2",
            &long,
            ":00000000000000ab:producer",
            "+1:00000000000000ab:producer",
            "a:00000000000000ab:producer",
            "2147483648:00000000000000ab:producer",
            "1:ab:producer",
            "1:+0000000000000ab:producer",
            "1:00000000000000000ab:producer",
            "1:\u{e4}0000000000000a:producer",
        ] {
            assert_eq!(Given::parse(value), None, "{value}");
        }
    }
}
