//! A stream that carries its own proof of being whole, for a transport that does not report
//! failures: ssh(1), socat(1), a file.
//!
//! | bytes | what |
//! |--:|---|
//! | 8 | [`HEADER`] |
//! | any | the stream |
//! | 8 | [`TRAILER_START`] |
//! | 8 | length of the stream in bytes, little-endian |
//! | 16 | XXH3 of the stream in 128 bits, little-endian |
//!
//! The digest finds accidental damage, not forgery: whoever can change the stream can change the
//! digest.

use xxhash_rust::xxh3::Xxh3;

use crate::exit::{Code, Failure};

/// Begins a framed stream. The last byte is the version.
const HEADER: [u8; 8] = *b"shmpipe\x01";
/// Begins the trailer of a framed stream.
const TRAILER_START: [u8; 8] = *b"\nwhole:\n";
const TRAILER_LEN: usize = 8 + 8 + 16;

/// Makes a framed stream.
pub(crate) struct Framer {
    digest: Box<Xxh3>,
    len: u64,
}

impl Framer {
    pub(crate) fn new() -> Framer {
        Framer {
            digest: Box::new(Xxh3::new()),
            len: 0,
        }
    }

    /// The header, which comes before the stream.
    pub(crate) fn header() -> &'static [u8] {
        &HEADER
    }

    /// Counts bytes of the stream.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// The trailer, which comes after the stream.
    pub(crate) fn trailer(&self) -> [u8; TRAILER_LEN] {
        let mut trailer = [0; TRAILER_LEN];
        trailer[..8].copy_from_slice(&TRAILER_START);
        trailer[8..16].copy_from_slice(&self.len.to_le_bytes());
        trailer[16..].copy_from_slice(&self.digest.digest128().to_le_bytes());
        trailer
    }
}

/// Takes a framed stream apart. Holds back what may be its trailer.
pub(crate) struct Checker {
    framer: Framer,
    /// Bytes of the header that have come.
    of_header: usize,
    /// What came last, and is not known to be part of the stream: at most a trailer.
    held: Vec<u8>,
}

impl Checker {
    pub(crate) fn new() -> Checker {
        Checker {
            framer: Framer::new(),
            of_header: 0,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes. Returns those that certainly belong to the stream.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let header = &HEADER[self.of_header..];
        let len = header.len().min(bytes.len());
        if bytes[..len] != header[..len] {
            return Err(Failure::other("stdin: is no stream of `recv --framed`"));
        }
        self.of_header += len;
        self.held.extend_from_slice(&bytes[len..]);
        let keep = self
            .held
            .split_off(self.held.len().saturating_sub(TRAILER_LEN));
        let known = std::mem::replace(&mut self.held, keep);
        self.framer.add(&known);
        Ok(known)
    }

    /// Checks the trailer. Fails unless the whole stream has come.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        let broken = |why: String| {
            let why = format!("stdin: the framed stream is not whole: {why}");
            Err(Failure::new(Code::SenderBrokeOff, why))
        };
        let Ok(trailer) = <[u8; TRAILER_LEN]>::try_from(&self.held[..]) else {
            return broken("it is shorter than its trailer".to_owned());
        };
        let (expected, len) = (self.framer.trailer(), self.framer.len);
        if trailer[..8] != expected[..8] {
            return broken(format!("it stops after {len} bytes"));
        }
        if trailer[8..16] != expected[8..16] {
            return broken(format!("it has {len} bytes, its trailer says otherwise"));
        }
        if trailer != expected {
            return broken("its digest is another one".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut framer = Framer::new();
        framer.add(bytes);
        [Framer::header(), bytes, &framer.trailer()].concat()
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |stream: &[u8]| {
            let mut checker = Checker::new();
            checker.take(stream).unwrap();
            checker.end().unwrap_err().message().to_owned()
        };
        let stream = framed(&[7; 100]);
        assert!(why(&stream[..20]).ends_with("shorter than its trailer"));
        assert!(why(&stream[..100]).ends_with("it stops after 60 bytes"));
        let shorter = [&stream[..50], &stream[60..]].concat();
        assert!(why(&shorter).ends_with("it has 90 bytes, its trailer says otherwise"));
        let mut other = stream;
        other[50] ^= 1;
        assert!(why(&other).ends_with("its digest is another one"));
    }

    /// What comes through in pieces of `piece` bytes, and whether it is whole.
    fn checked(stream: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut checker = Checker::new();
        let mut got = Vec::new();
        for bytes in stream.chunks(piece) {
            match checker.take(bytes) {
                Ok(known) => got.extend(known),
                Err(_) => return (got, false),
            }
        }
        (got, checker.end().is_ok())
    }

    #[test]
    fn a_whole_stream_comes_through_whatever_its_pieces() {
        for len in [0, 1, 31, 32, 33, 1000] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            for piece in [1, 2, 7, 8, 32, 33, 5000] {
                assert_eq!(checked(&framed(&bytes), piece), (bytes.clone(), true));
            }
        }
    }

    #[test]
    fn no_part_of_a_stream_is_taken_for_whole() {
        let bytes: Vec<u8> = (0..200).collect();
        let stream = framed(&bytes);
        for len in 0..stream.len() {
            assert!(!checked(&stream[..len], 16).1, "{len}");
            let mut changed = stream.clone();
            changed[len] ^= 1;
            assert!(!checked(&changed, 16).1, "{len}");
        }
        let longer = [&stream[..], b"x"].concat();
        assert!(!checked(&longer, 16).1);
        // A stream that has a framed one in it.
        assert_eq!(checked(&framed(&stream), 16), (stream, true));
    }
}
