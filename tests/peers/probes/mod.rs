//! What a peer must do, in situations that show each number of the format. A probe says whether it did.

mod header;
mod levels;
mod lives;
mod sleeping;

use std::time::{Duration, Instant};

use crate::common::offsets::STATE;
use crate::common::{TempPath, options};
use crate::languages::{Language, Peer, command};
use shmpipe::sysv::{self, SegmentId};

/// A peer, perhaps with one wrong number.
pub(crate) struct Subject {
    language: Language,
    mutant: String,
    /// Seconds that it may wait: few for a mutant, since many wait in vain.
    patience: u64,
}

type Probe = fn(&Subject) -> bool;

/// The quick ones first.
pub(crate) const PROBES: [(&str, Probe); 21] = [
    ("vectors", crate::golden::agrees),
    ("bytes of a producer", |peer| header::bytes(peer, 0)),
    ("bytes of a consumer", |peer| header::bytes(peer, 1)),
    ("usual capacity", header::usual_capacity),
    ("puts inline", levels::puts_inline),
    ("takes inline", levels::takes_inline),
    ("in memory", crate::in_memory::shares),
    ("refusals", header::refusals),
    ("writes", |peer| lives::streams(peer, true)),
    ("reads", |peer| lives::streams(peer, false)),
    ("ends", lives::ends),
    ("sleeps for room", sleeping::sleeps_for_room),
    ("sleeps for bytes", sleeping::sleeps_for_bytes),
    ("wakes", sleeping::wakes),
    ("anonymous", lives::anonymous),
    ("replaces", lives::replaces),
    ("deaths", lives::deaths),
    ("places", lives::places),
    ("half made", lives::half_made),
    ("lies", header::lies),
    ("barrier and giving up", |peer| {
        sleeping::barrier(peer) && sleeping::gives_up(peer)
    }),
];

impl Subject {
    pub(crate) fn new(language: Language, mutant: Option<(&str, u64)>) -> Subject {
        Subject {
            language,
            mutant: mutant.map_or(String::new(), |(name, value)| {
                format!("mutant={name}:{value}")
            }),
            patience: if mutant.is_some() { 3 } else { 60 },
        }
    }

    /// The first probe that tells this peer from a sound one.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let fails = PROBES.iter().find(|(_, probe)| !probe(self));
        fails.map(|(name, _)| *name)
    }

    /// The command of this peer.
    pub(crate) fn command(&self, words: &str) -> std::process::Command {
        let words = format!("{words} timeout={} {}", self.patience, self.mutant);
        command(self.language, &words)
    }

    pub(crate) fn is(&self, language: Language) -> bool {
        self.language == language
    }

    pub(crate) fn peer(&self, words: &str) -> Peer {
        let words = format!("{words} timeout={} {}", self.patience, self.mutant);
        Peer::new(self.language, &words)
    }

    fn peer_that_gives_up(&self, words: &str) -> Peer {
        let words = format!("{words} timeout=1 {}", self.mutant);
        Peer::new(self.language, &words)
    }

    /// Whether the peer says this, and nothing else, and then ends. It leaves after it has spoken.
    fn says(&self, words: &str, expected: &str) -> bool {
        let mut peer = self.peer(words);
        peer.find("peer: ").as_deref() == Some(expected) && self.sees(|| peer.has_ended())
    }

    /// Whether a condition comes true while this peer is patient.
    fn sees(&self, mut condition: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while !condition() {
            if start.elapsed().as_secs() >= self.patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.patience))
    }
}

/// A path. What a mutant leaves there need not be a ring, and goes all the same.
struct Place(TempPath);

impl Place {
    fn new() -> Place {
        Place(TempPath::new())
    }
}

impl std::ops::Deref for Place {
    type Target = TempPath;

    fn deref(&self) -> &TempPath {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(id) = self.segment() {
            let _ = sysv::remove(id); // the mutant may have removed it
        }
    }
}

/// A word of a segment; 0 once the segment is gone. Looks at no other word, since rings can be large.
fn read(id: SegmentId, offset: usize) -> u64 {
    let Ok(looked) = sysv::attach_read_only(id) else {
        return 0;
    };
    assert!(offset + 8 <= looked.len());
    let word = looked.as_ptr().wrapping_add(offset).cast::<u64>();
    // SAFETY: the word lies in the attachment, and is aligned. Others may write it meanwhile, so it
    // is read as a volatile one.
    unsafe { word.read_volatile() }
}

fn life_cycle_word(path: &Place) -> u64 {
    path.segment().map_or(0, |id| read(id, STATE))
}

/// A persistent ring of the library's, of one page, with nobody in it.
fn persistent(path: &Place) -> SegmentId {
    let mut options = options();
    options.persistent(true).capacity(4096);
    options.open_producer(&path.0).unwrap().id().unwrap()
}
