//! What a ring with ends in it is: a queue of bytes and ends.

use std::collections::VecDeque;

use crate::Told;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Byte(u8),
    End(Told),
}

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Bytes(Vec<u8>),
    End(Told),
    Nothing,
}

/// The queue, and who has its ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// Bytes of the stream that is being written.
    written: u64,
    /// Bytes of the stream that is being read, which were read.
    read: u64,
    /// The producer that died and that nobody has followed.
    pub(crate) dead: Option<u32>,
    /// Whether a reading call of this consumer's returned the end.
    given: bool,
    /// Whether any call did.
    told: bool,
    next: u8,
}

impl Queue {
    /// A producer comes. What it finds of the stream.
    pub(crate) fn open(&mut self, resumes: bool) -> u64 {
        if !resumes {
            self.break_off();
        }
        self.dead = None;
        self.written
    }

    /// One that does not resume is about to come.
    pub(crate) fn break_off(&mut self) {
        if let Some(pid) = self.dead
            && self.written > 0
        {
            self.end(Told::Died(pid));
        }
    }

    /// Whether that would leave an end.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.dead.is_some() && self.written > 0
    }

    /// The next byte, written.
    pub(crate) fn write(&mut self) -> u8 {
        self.next = self.next.wrapping_add(1);
        self.items.push_back(Item::Byte(self.next));
        self.written += 1;
        self.next
    }

    pub(crate) fn end(&mut self, how: Told) {
        self.items.push_back(Item::End(how));
        self.written = 0;
    }

    /// A consumer comes; how much of the stream was read before.
    pub(crate) fn come(&mut self) -> u64 {
        (self.given, self.told) = (false, false);
        self.read
    }

    /// Bytes up to the next end.
    pub(crate) fn available(&self) -> usize {
        let is_byte = |item: &&Item| matches!(item, Item::Byte(_));
        self.items.iter().take_while(is_byte).count()
    }

    pub(crate) fn read(&mut self, most: usize) -> Found {
        let len = self.available().min(most);
        if len > 0 {
            self.read += len as u64;
            let bytes = self.items.drain(..len).map(|item| match item {
                Item::Byte(byte) => byte,
                Item::End(_) => unreachable!("only bytes were counted"),
            });
            return Found::Bytes(bytes.collect());
        }
        match self.items.front() {
            Some(&Item::End(how)) => {
                (self.given, self.told) = (true, true);
                Found::End(how)
            }
            _ => Found::Nothing,
        }
    }

    /// Goes on with the next stream, if this one has ended. `Err` with how it
    /// was broken off, if nobody was told.
    pub(crate) fn next_stream(&mut self) -> Result<bool, Told> {
        match self.items.front() {
            Some(&Item::End(how)) if how != Told::Finished && !self.told => {
                self.told = true;
                Err(how)
            }
            Some(Item::End(_)) => {
                self.items.pop_front();
                self.read = 0;
                (self.given, self.told) = (false, false);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The consumer leaves in order. Whether that acknowledges an end.
    pub(crate) fn close(&mut self) -> bool {
        self.given && self.next_stream() == Ok(true)
    }

    pub(crate) fn read_so_far(&self) -> u64 {
        self.read
    }
}
