//! What `top` knows: the rings, their rates of the last looks, and what the user does.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use clap::ValueEnum;
use shmpipe::sysv::SegmentId;

use crate::args::{Sort, TopArgs};
use crate::exit::Failure;
use crate::rings::{self, Segment, add_rates, survey};
use crate::rm::{self, explained};

/// Rates that are kept of each ring.
pub(super) const HISTORY: usize = 60;

/// What keys mean at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    List,
    /// The filter is typed.
    Filter,
    /// The user is asked whether to remove this ring.
    Confirm(SegmentId),
    Help,
}

#[derive(Debug)]
pub(super) struct State {
    /// All rings, as last seen.
    all: Vec<Segment>,
    seen: Instant,
    looks: u64,
    /// Rates by the ring's id and nonce.
    history: HashMap<(i32, u64), VecDeque<f64>>,
    /// The rings that are shown, in their order.
    pub(super) shown: Vec<Segment>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) chosen: Option<SegmentId>,
    pub(super) mode: Mode,
    /// What the last act has done.
    pub(super) message: String,
}

impl State {
    pub(super) fn new(args: &TopArgs) -> State {
        State {
            all: Vec::new(),
            seen: Instant::now(),
            looks: 0,
            history: HashMap::new(),
            shown: Vec::new(),
            sort: args.sort,
            filter: args.filter.clone(),
            chosen: None,
            mode: Mode::List,
            message: String::new(),
        }
    }

    /// Looks at all rings.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        let mut found = survey()?;
        found.retain(Segment::may_be_ring);
        let now = Instant::now();
        if self.looks > 0 {
            add_rates(&mut found, &self.all, now - self.seen);
        }
        let mut history = HashMap::new();
        for segment in &found {
            let Some(key) = key(segment) else { continue };
            let mut rates = self.history.remove(&key).unwrap_or_default();
            rates.extend(segment.rate);
            while rates.len() > HISTORY {
                rates.pop_front();
            }
            history.insert(key, rates);
        }
        (self.all, self.seen, self.history) = (found, now, history);
        self.looks += 1;
        self.arrange();
        Ok(())
    }

    pub(super) fn looks(&self) -> u64 {
        self.looks
    }

    /// Filters and sorts what is shown, and keeps a ring chosen.
    pub(super) fn arrange(&mut self) {
        let is_meant = |segment: &&Segment| {
            let [from, to] = segment.commands();
            let words = [
                segment.path(),
                segment.owner(),
                segment.state().to_string(),
                from,
                to,
            ];
            words.iter().any(|word| word.contains(&self.filter))
        };
        let mut shown: Vec<Segment> = self.all.iter().filter(is_meant).cloned().collect();
        rings::sort(&mut shown, self.sort);
        self.shown = shown;
        if self.position().is_none() {
            self.chosen = self.shown.first().map(Segment::id);
        }
    }

    /// Where the chosen ring is shown.
    pub(super) fn position(&self) -> Option<usize> {
        let chosen = self.chosen?;
        self.shown.iter().position(|segment| segment.id() == chosen)
    }

    pub(super) fn choose(&mut self, step: isize) {
        let at = self.position().unwrap_or(0).saturating_add_signed(step);
        let last = self.shown.len().saturating_sub(1);
        self.chosen = self.shown.get(at.min(last)).map(Segment::id);
    }

    pub(super) fn sort_by_next(&mut self) {
        let all = Sort::value_variants();
        let at = all.iter().position(|&sort| sort == self.sort).unwrap_or(0);
        self.sort = all[(at + 1) % all.len()];
    }

    /// Asks whether to remove the chosen ring.
    pub(super) fn ask(&mut self) {
        if let Some(id) = self.chosen {
            self.message.clear();
            self.mode = Mode::Confirm(id);
        }
    }

    /// Removes a ring that nobody uses.
    pub(super) fn remove(&mut self, id: SegmentId) {
        self.message = match rm::remove(id) {
            Ok(()) => {
                self.all.retain(|segment| segment.id() != id);
                format!("removed segment {id}")
            }
            Err(error) => {
                let failure = explained(&format!("segment {id}"), error, "");
                failure.message().replace('\n', " ")
            }
        };
        self.arrange();
    }

    /// The rates of a ring, the latest last.
    pub(super) fn rates(&self, segment: &Segment) -> Vec<f64> {
        let rates = key(segment).and_then(|key| self.history.get(&key));
        rates.map_or_else(Vec::new, |rates| rates.iter().copied().collect())
    }

    /// Bytes per second of all rings together.
    pub(super) fn rate(&self) -> f64 {
        self.all.iter().filter_map(|segment| segment.rate).sum()
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

fn key(segment: &Segment) -> Option<(i32, u64)> {
    segment.ring().map(|ring| (ring.id.raw(), ring.nonce))
}
