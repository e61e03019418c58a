//! The memory of payloads.
//!
//! The client drops a payload once the socket has taken it, long before the acknowledgement. The next
//! record then takes the same memory: it has its pages, is likely in the processor's cache, and is not
//! filled with zeros again. Zeros and page faults each cost about as much as the copy out of the ring.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

/// The most bytes that are kept for later payloads.
const KEPT: usize = 2 << 20;

/// Memory of payloads that the client has dropped. The last one comes first.
type Free = Arc<Mutex<Vec<Vec<u8>>>>;

/// Where payloads come from. Only long ones are used again: so the memory of all payloads in flight is at
/// most twice the window, however short a record is.
pub(super) struct Payloads {
    free: Free,
    /// Bytes of each long payload's memory.
    longest: usize,
}

impl Payloads {
    /// For payloads up to `longest` bytes.
    pub(super) fn of(longest: usize) -> Payloads {
        Payloads {
            free: Free::default(),
            longest,
        }
    }

    /// A payload of `len` bytes, with whatever was there before.
    pub(super) fn take(&self, len: usize) -> Payload {
        if len <= self.longest / 2 || len > self.longest {
            return Payload {
                bytes: vec![0; len],
                len,
                home: None,
            };
        }
        let kept = self.free.lock().ok().and_then(|mut free| free.pop());
        Payload {
            bytes: kept.unwrap_or_else(|| vec![0; self.longest]),
            len,
            home: Some(Arc::clone(&self.free)),
        }
    }
}

/// The bytes of a record. `Bytes::from_owner` takes it.
pub(super) struct Payload {
    /// `len` bytes, or more.
    bytes: Vec<u8>,
    len: usize,
    /// Where the memory goes afterwards.
    home: Option<Free>,
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let Some(home) = &self.home else {
            return;
        };
        if let Ok(mut free) = home.lock()
            && (free.len() + 1) * self.bytes.len() <= KEPT
        {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use bytes::Bytes;

    use super::*;

    const LONG: usize = 128 << 10;

    fn kept(payloads: &Payloads) -> usize {
        let free = payloads.free.lock().unwrap();
        free.iter().map(Vec::len).sum()
    }

    #[test]
    fn the_memory_of_a_dropped_payload_is_used_again() {
        let payloads = Payloads::of(LONG);
        let (mut in_flight, mut places) = (VecDeque::new(), HashSet::new());
        for round in 0..100_u8 {
            if in_flight.len() == 4 {
                in_flight.pop_front(); // the socket has it
            }
            let mut payload = payloads.take(LONG - usize::from(round));
            assert_eq!(payload.len(), LONG - usize::from(round));
            payload.fill(round);
            places.insert(payload.as_ptr());
            in_flight.push_back(Bytes::from_owner(payload));
            let first = round + 1 - in_flight.len() as u8;
            for (age, payload) in in_flight.iter().enumerate() {
                let expected = first + age as u8;
                assert!(payload.iter().all(|byte| *byte == expected)); // nobody writes there
            }
        }
        assert!(places.len() <= 4, "{} places", places.len());
    }

    #[test]
    fn the_last_payload_that_was_dropped_is_the_first_to_be_used_again() {
        let payloads = Payloads::of(LONG);
        let all: Vec<_> = (0..4).map(|_| payloads.take(LONG)).collect();
        let places: Vec<_> = all.iter().map(|payload| payload.as_ptr()).collect();
        for payload in all {
            drop(payload);
        }
        assert_eq!(payloads.take(LONG).as_ptr(), places[3]);
    }

    /// Found by reading: each of the many buffers of short records grew to a long record's length.
    #[test]
    fn a_short_payload_has_its_own_length_and_is_not_kept() {
        let payloads = Payloads::of(LONG);
        drop(payloads.take(LONG));
        let short: Vec<_> = (0..512).map(|_| payloads.take(8)).collect();
        assert!(short.iter().all(|payload| payload.bytes.len() == 8));
        drop(short);
        assert_eq!(kept(&payloads), LONG);
    }

    #[test]
    fn what_is_kept_has_a_bound_whatever_was_in_flight() {
        for longest in [1000, LONG, 1 << 20, 64 << 20] {
            let payloads = Payloads::of(longest);
            let count = (8 << 20) / longest + 2;
            let all: Vec<_> = (0..count).map(|_| payloads.take(longest)).collect();
            drop(all);
            assert!(kept(&payloads) <= KEPT, "{longest}");
        }
    }

    #[test]
    fn a_payload_of_an_earlier_session_does_no_harm() {
        let mut payloads = Payloads::of(LONG);
        let payload = payloads.take(LONG);
        assert_eq!(payload.len(), LONG);
        payloads = Payloads::of(1000);
        drop(payload);
        assert_eq!(kept(&payloads), 0);
        assert_eq!(payloads.take(1000).len(), 1000);
    }
}
