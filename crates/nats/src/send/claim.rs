//! The start of a session: where the log ends, the part of it that the ring still has, and the
//! claim.

use bytes::Bytes;
use shmpipe::{PeekError, Snapshot};

use super::payloads::Payloads;
use super::source::{ending, next_stream};
use super::{Sender, State};
use crate::broker;
use crate::error::{Error, Failure};
use crate::log::{LogError, Plan, Ring, plan};
use crate::record::{Kind, Place, Record};
use crate::settings;
use crate::window::LONGEST;

impl<N: FnMut(&str)> Sender<'_, N> {
    /// Claims the stream and sends, until an error or the last of `ends`.
    pub(super) async fn session(&mut self) -> Result<(), Failure> {
        self.flights.clear();
        self.ahead = 0;
        self.state = State::Flows;
        self.full = None;
        self.window.reset();
        let name = &self.options.name;
        let info = broker::find(&self.context, name, self.options.create).await?;
        let payload = self.link.client().max_payload();
        let most = settings::most_payload(&info.config, payload)?;
        self.chunk = most.min(self.options.chunk).min(LONGEST);
        self.payloads = Payloads::of(self.chunk);
        let handle = broker::handle(&self.context, name).await?;
        let begins = self.options.begins && !self.had_session;
        let end = match broker::find_end(&handle, name, &info).await {
            // What the log ends with does not matter then.
            Err(Failure::Fatal(Error::Log(LogError::LostClaim { .. }))) if begins => None,
            end => end?,
        };
        if let Some(end) = end.filter(|end| self.had_session && end.nonce != self.nonce) {
            return Err(Error::Superseded { nonce: end.nonce }.into());
        }
        let bounds = self.bounds()?;
        let plan = match plan(end, &bounds, begins) {
            Ok(plan) => plan,
            Err(error) => {
                // Records of an earlier session may still land, and be trimmed, meanwhile.
                let again = broker::find(&self.context, name, None).await?;
                if again.state.last_sequence != info.state.last_sequence {
                    return Err(Failure::again(
                        "the log changes while its end is looked for",
                    ));
                }
                let (state, head) = (&info.state, bounds.head);
                let (first, last) = (state.first_sequence, state.last_sequence);
                (self.notice)(&format!(
                    "the log has {} messages, {first} to {last}, and ends at {end:?}; the ring \
                     has released {head:?}",
                    state.messages
                ));
                return Err(error.into());
            }
        };
        let (kind, at) = match plan {
            Plan::Continue(to) => {
                self.release(to)?;
                (Kind::Claim, to)
            }
            Plan::Begin(at) => (Kind::Begin, at),
        };
        self.last = info.state.last_sequence;
        self.claim(kind, at).await?;
        if self.is_done() {
            return Ok(());
        }
        self.pump().await
    }

    /// The part of the ring that this sender may still read.
    fn bounds(&mut self) -> Result<Ring, Failure> {
        let ring = self.ring.get_mut();
        let head = Place {
            stream: ring.stream_number(),
            position: ring.position(),
        };
        let mut tail = head;
        if let Some(id) = ring.id_for_log() {
            let snapshot = Snapshot::of(id)?;
            tail.position = snapshot.written;
            tail.stream += snapshot.unread_ends;
        }
        Ok(Ring {
            nonce: self.nonce,
            head,
            tail,
        })
    }

    /// Releases what the log has.
    fn release(&mut self, to: Place) -> Result<(), Failure> {
        let ring = self.ring.get_mut();
        let contradiction = LogError::Contradiction {
            stream: to.stream,
            position: to.position,
        };
        while (ring.stream_number(), ring.position()) != (to.stream, to.position) {
            let left = to.position.saturating_sub(ring.position());
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.capacity);
            match ring.try_peek_up_to(most.max(1)) {
                Ok(grant) if most > 0 => grant.consume_all(),
                Ok(_) | Err(PeekError::Empty { .. }) => return Err(contradiction.into()),
                Err(error) => {
                    ending(error)?;
                    if ring.stream_number() >= to.stream {
                        return Err(contradiction.into());
                    }
                    self.ended += 1;
                    next_stream(ring)?;
                }
            }
        }
        Ok(())
    }

    async fn claim(&mut self, kind: Kind, at: Place) -> Result<(), Failure> {
        let record = Record {
            kind,
            nonce: self.nonce,
            session: 0,
            at,
            len: 0,
        };
        let claims = self.options.name.claims();
        let publish = self.message(&record, Bytes::new(), self.last);
        let answer = self.context.send_publish(claims, publish).await;
        let answer = answer.map_err(Failure::again)?.await;
        match answer {
            Ok(ack) => self.session = ack.sequence,
            Err(error) => return Err(self.refusal(&error)),
        }
        self.last = self.session;
        self.had_session = true;
        Ok(())
    }
}
