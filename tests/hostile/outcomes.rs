//! What calls come to, counted; each within its time, and each corruption for
//! good and with its two numbers.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use shmpipe::error::Corruption;
use shmpipe::{Broken, PartialError, WaitError};

/// How much later than its limit a call may return on a machine that is busy
/// with other things. A wait that is not bounded takes longer than this: the
/// attacker never lets off.
pub(crate) const MARGIN: Duration = Duration::from_secs(30);

/// What has come of the calls, by name, and how often.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(pub(crate) BTreeMap<String, u64>);

/// Why a handle is of no further use, if it is not.
pub(crate) type Verdict = Option<Broken>;

impl Outcomes {
    pub(crate) fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// The first of these that no call has come to.
    pub(crate) fn lack<'a>(&self, wanted: &'a [impl AsRef<str>]) -> Option<&'a str> {
        let mut wanted = wanted.iter().map(AsRef::as_ref);
        wanted.find(|what| self.of(what) == 0)
    }

    pub(crate) fn merge(&mut self, other: Outcomes) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// Counts a result; gives back what ends the handle.
    pub(crate) fn judge(&mut self, result: io::Result<usize>) -> Verdict {
        let error = match result {
            Ok(0) => {
                self.add("nothing");
                return None;
            }
            Ok(_) => {
                self.add("data");
                return None;
            }
            Err(error) => error,
        };
        if let Some(broken) = broken(&error) {
            let name = match &broken {
                Broken::Corrupted(corruption) => {
                    check_corruption(corruption);
                    format!("corrupted: {:?}", corruption.rule())
                }
                Broken::ConsumerClosed | Broken::ProducerAborted => "closed".to_owned(),
                Broken::Died { .. } | Broken::NeverCame { .. } => "dead".to_owned(),
                other => panic!("not an answer to an attack: {other:?}"),
            };
            self.add(name);
            return Some(broken);
        }
        let name = match error.kind() {
            ErrorKind::WouldBlock => "would block",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::UnexpectedEof => "ended",
            _ => panic!("not an answer to an attack: {error:?}"),
        };
        self.add(name);
        None
    }
}

/// The reason inside an error.
fn broken(error: &io::Error) -> Option<Broken> {
    let mut inner: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = inner {
        if let Some(broken) = error.downcast_ref::<Broken>() {
            return Some(broken.clone());
        }
        if let Some(PartialError { cause, .. }) = error.downcast_ref::<PartialError>() {
            return match cause {
                WaitError::Broken(broken) => Some(broken.clone()),
                _ => None,
            };
        }
        inner = error.source();
    }
    None
}

/// Whether to go on: until `until`, and longer on a busy machine, which `lacks` by then
/// some of what it is to come to.
pub(crate) fn goes_on(until: Instant, lacks: impl FnOnce() -> bool) -> bool {
    let now = Instant::now();
    now < until || now < until + PATIENCE && lacks()
}

/// It says which rule was broken, with two numbers that break it.
pub(crate) fn check_corruption(corruption: &Corruption) {
    let (found, against) = (corruption.found(), corruption.against());
    assert_ne!(found, against, "{corruption}");
    let said = corruption.to_string();
    assert!(
        said.contains(&format!("({found} against {against})")),
        "{said}"
    );
}

/// Makes a call, which must be back within its limit.
#[track_caller]
pub(crate) fn timed<T>(what: &str, limit: Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    let took = start.elapsed();
    assert!(took < limit + MARGIN, "{what} took {took:?} of {limit:?}");
    result
}
