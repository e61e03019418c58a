//! A record of the log: one message of the stream, and its headers.
//!
//! | header | value |
//! |---|---|
//! | `Shmpipe` | [`VERSION`] of the records |
//! | `Kind` | `begin`, `claim`, `data`, `finished`, `aborted`, `died` or `lost` |
//! | `Nonce` | of the source ring, 16 hexadecimal digits |
//! | `Session` | of the sender: the sequence of its claim; `0` in the claim itself |
//! | `Pos` | position in the source ring: of the first byte of data, else of the end of the bytes so far |
//! | `Stream` | how many streams of the source ring ended before |
//!
//! Only data has a payload.

use thiserror::Error;

/// The version of the records that this crate writes and reads.
pub const VERSION: u64 = 1;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The producer finished: the stream is whole.
    Finished,
    /// The producer broke the stream off.
    Aborted,
    /// The producer died, and another one began a stream.
    Died,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first claim for a source ring: no byte of the ring comes before it.
    Begin,
    /// A claim by a sender that continues.
    Claim,
    /// Bytes of the ring.
    Data,
    /// The end of a stream.
    End(Ending),
    /// The producer is dead, and its stream has not ended: another one may resume it.
    Lost,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Begin,
        Kind::Claim,
        Kind::Data,
        Kind::End(Ending::Finished),
        Kind::End(Ending::Aborted),
        Kind::End(Ending::Died),
        Kind::Lost,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Begin => "begin",
            Kind::Claim => "claim",
            Kind::Data => "data",
            Kind::End(Ending::Finished) => "finished",
            Kind::End(Ending::Aborted) => "aborted",
            Kind::End(Ending::Died) => "died",
            Kind::Lost => "lost",
        }
    }

    /// Whether the record claims the log for its sender.
    #[must_use]
    pub fn is_claim(self) -> bool {
        matches!(self, Kind::Begin | Kind::Claim)
    }
}

/// A place in a source ring: all bytes and ends before it are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Streams that ended before.
    pub stream: u64,
    /// Bytes before.
    pub position: u64,
}

impl Place {
    /// The start of a new ring.
    pub const START: Place = Place {
        stream: 0,
        position: 0,
    };
}

/// The headers of a record, and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// What the record is.
    pub kind: Kind,
    /// The nonce of the source ring.
    pub nonce: u64,
    /// The session that wrote the record; 0 in a claim.
    pub session: u64,
    /// Where the record begins.
    pub at: Place,
    /// Bytes of the payload.
    pub len: u64,
}

/// Why a message is no record that can be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The message has no `Shmpipe` header: something else wrote it.
    #[error("it is no record of a shmpipe relay")]
    Foreign,
    /// The record has another version.
    #[error("it is a record of version {found}, and this relay knows version {VERSION}")]
    Version {
        /// The version of the record.
        found: String,
    },
    /// A header is missing, or has a value that no relay writes.
    #[error("its header {header} is {}", found.as_deref().unwrap_or("missing"))]
    Header {
        /// The name of the header.
        header: &'static str,
        /// The value, if there is one.
        found: Option<String>,
    },
    /// The payload does not fit the kind.
    #[error("it has {len} bytes of payload, which does not fit its kind")]
    Payload {
        /// Bytes of the payload.
        len: u64,
    },
}

impl Record {
    /// Where the record ends: the place of the next one. `None` if the position or the
    /// stream is beyond 64 bits.
    #[must_use]
    pub fn end(&self) -> Option<Place> {
        let Place { stream, position } = self.at;
        Some(match self.kind {
            Kind::Data => Place {
                stream,
                position: position.checked_add(self.len)?,
            },
            Kind::End(_) => Place {
                stream: stream.checked_add(1)?,
                position,
            },
            Kind::Begin | Kind::Claim | Kind::Lost => self.at,
        })
    }

    /// The headers of this record.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 6] {
        [
            ("Shmpipe", VERSION.to_string()),
            ("Kind", self.kind.name().to_owned()),
            ("Nonce", format!("{:016x}", self.nonce)),
            ("Session", self.session.to_string()),
            ("Pos", self.at.position.to_string()),
            ("Stream", self.at.stream.to_string()),
        ]
    }

    /// Reads the record from its headers. `get` returns the value of a header, and
    /// `len` is that of the payload.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the message is then no record of this version.
    pub fn parse<'a>(
        get: impl Fn(&'static str) -> Option<&'a str>,
        len: usize,
    ) -> Result<Record, RecordError> {
        let version = get("Shmpipe").ok_or(RecordError::Foreign)?;
        if version != VERSION.to_string() {
            return Err(RecordError::Version {
                found: shown(version),
            });
        }
        let header = |header, radix| {
            let found = get(header);
            let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let number = found
                .filter(digits)
                .and_then(|text| u64::from_str_radix(text, radix).ok());
            number.ok_or_else(|| RecordError::Header {
                header,
                found: found.map(shown),
            })
        };
        let kind = get("Kind");
        let kind = Kind::ALL
            .into_iter()
            .find(|known| Some(known.name()) == kind)
            .ok_or_else(|| RecordError::Header {
                header: "Kind",
                found: kind.map(shown),
            })?;
        let record = Record {
            kind,
            nonce: header("Nonce", 16)?,
            session: header("Session", 10)?,
            at: Place {
                stream: header("Stream", 10)?,
                position: header("Pos", 10)?,
            },
            len: len as u64,
        };
        if (record.kind == Kind::Data) != (len > 0) {
            return Err(RecordError::Payload { len: record.len });
        }
        if record.kind.is_claim() != (record.session == 0) {
            return Err(RecordError::Header {
                header: "Session",
                found: Some(record.session.to_string()),
            });
        }
        if record.end().is_none() {
            return Err(RecordError::Header {
                header: "Pos",
                found: Some(record.at.position.to_string()),
            });
        }
        Ok(record)
    }
}

/// The start of a text that anybody may have written, escaped.
fn shown(text: &str) -> String {
    text.chars().take(32).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[(&'static str, String)], len: usize) -> Result<Record, RecordError> {
        let find = |name| headers.iter().find(|(header, _)| *header == name);
        Record::parse(|name| find(name).map(|(_, value)| &value[..]), len)
    }

    fn data() -> Record {
        Record {
            kind: Kind::Data,
            nonce: 0xabc,
            session: 7,
            at: Place {
                stream: 2,
                position: 1 << 40,
            },
            len: 5,
        }
    }

    #[test]
    fn every_kind_survives_its_headers() {
        for kind in Kind::ALL {
            let record = Record {
                kind,
                session: if kind.is_claim() { 0 } else { 7 },
                len: if kind == Kind::Data { 5 } else { 0 },
                ..data()
            };
            assert_eq!(parse(&record.headers(), record.len as usize), Ok(record));
        }
    }

    #[test]
    fn a_message_that_is_no_record_names_what_is_wrong() {
        assert_eq!(parse(&[], 5), Err(RecordError::Foreign));
        let with = |name: &str, value: &str| {
            let mut headers = data().headers();
            let header = headers.iter_mut().find(|(header, _)| *header == name);
            header.unwrap().1 = value.to_owned();
            parse(&headers, 5)
        };
        let newer = with("Shmpipe", "2").unwrap_err();
        assert_eq!(
            newer.to_string(),
            "it is a record of version 2, and this relay knows version 1"
        );
        for (name, value) in [
            ("Kind", "dat"),
            ("Nonce", "xyz"),
            ("Nonce", "+1"),
            ("Session", "-1"),
            ("Session", "0"),
            ("Pos", "18446744073709551616"),
            ("Pos", "18446744073709551612"), // the payload goes beyond
            ("Stream", ""),
        ] {
            let error = with(name, value).unwrap_err();
            assert!(
                matches!(error, RecordError::Header { header, .. } if header == name),
                "{name} {value}: {error}"
            );
        }
        for name in ["Kind", "Nonce", "Session", "Pos", "Stream"] {
            let mut headers = data().headers().to_vec();
            headers.retain(|(header, _)| *header != name);
            assert_eq!(
                parse(&headers, 5),
                Err(RecordError::Header {
                    header: name,
                    found: None
                })
            );
        }
        let empty = parse(&data().headers(), 0);
        assert_eq!(empty, Err(RecordError::Payload { len: 0 }));
    }

    #[test]
    fn a_strangers_text_is_shown_escaped_and_short() {
        let found = shown(&format!("\x1b[2J{}", "x".repeat(1000)));
        assert!(found.len() < 60 && !found.contains('\x1b'), "{found}");
    }
}
