//! The ring's side of a sender: why nothing more comes, and the ends that a look returns.

use shmpipe::{Broken, Consumer, Occupant, PeekError};

use super::{Sender, State};
use crate::error::Failure;
use crate::record::Ending;

impl<N: FnMut(&str)> Sender<'_, N> {
    /// Notes why the ring has nothing more after the bytes in flight.
    pub(super) fn stopped(&mut self, error: std::io::Error) -> Result<(), Failure> {
        let ring = self.ring.get_ref();
        match Broken::find(&error) {
            Some(Broken::Died { .. } | Broken::ProducerAborted) => {}
            Some(broken) => return Err(broken.clone().into()),
            // The end of a whole stream.
            None if ring.is_at_end() => {}
            None => return Err(Failure::again(error)),
        }
        self.state = State::Stops;
        Ok(())
    }

    /// Lets the next wait be for bytes again, if a producer has come after the dead one.
    pub(super) fn look_for_a_producer(&mut self) {
        let peer = self.ring.get_ref().peer();
        if self.state == State::Dead && matches!(peer, Occupant::Process(_)) {
            self.state = State::Flows;
        }
    }
}

/// The end that a look at the ring has returned.
pub(super) fn ending(error: PeekError) -> Result<Ending, Failure> {
    match error {
        PeekError::Ended { .. } => Ok(Ending::Finished),
        PeekError::Broken(Broken::ProducerAborted) => Ok(Ending::Aborted),
        PeekError::Broken(Broken::Died { .. }) => Ok(Ending::Died),
        error => Err(broken(error)),
    }
}

pub(super) fn broken(error: PeekError) -> Failure {
    match error {
        PeekError::Broken(broken) => broken.into(),
        error => Failure::again(error),
    }
}

/// Acknowledges an end that a look has returned.
pub(super) fn next_stream(ring: &mut Consumer) -> Result<(), Failure> {
    ring.next_stream().map(drop).map_err(|error| match error {
        shmpipe::NextStreamError::Broken(broken) => broken.into(),
        error => Failure::again(error),
    })
}
